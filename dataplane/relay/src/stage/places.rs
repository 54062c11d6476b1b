//! The places of half-open connections: bounded, and shared fairly between those who ask for them.
//!
//! A source is an IPv4 address or an IPv6 /64. While places are free anyone gets one. When none is, the source that holds
//! the most gives up its oldest connection, if it still holds as many as the newcomer's afterwards: so one host cannot keep
//! others out, and many hosts with one connection each do not push each other out without end. A source that has its share
//! is refused, or waits aside while handshakes do end. Asked once for each connection by `accept`, and once more where a
//! PROXY header names another source.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::sleep;

/// Handshakes go on when one has ended so lately.
const LATELY: Duration = Duration::from_millis(250);
/// How often one that waits behind others of its source looks for a place.
const LOOK_EVERY: Duration = Duration::from_millis(5);

pub(crate) struct Places {
    free: Arc<Semaphore>,
    max: usize,
    /// Room for those who wait behind others of their source.
    waiting: Arc<Semaphore>,
    holders: Mutex<Holders>,
}

/// A place, until it is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    source: Source,
    turn: Turn,
    /// Given back after the place has left the list of holders.
    _permit: OwnedSemaphorePermit,
}

/// What a newcomer gets.
pub(super) enum Taken {
    Place(Place, Wanted),
    /// Others of its source are before it. To be waited with elsewhere than where others are accepted.
    Waiting(Waiting),
    Refused,
}

/// A newcomer that waits behind others of its source.
pub(super) struct Waiting {
    places: Arc<Places>,
    peer: IpAddr,
    _room: OwnedSemaphorePermit,
}

/// How the holder of a place learns that a newcomer needs it.
pub(crate) struct Wanted(oneshot::Receiver<()>);

/// What an address counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Source {
    V4(u32),
    /// The upper half of the address; one host has all of the lower.
    V6(u64),
}

/// When a place was taken, among all; the name of its holder.
type Turn = u64;

/// As many entries in all as places are taken at most.
#[derive(Default)]
struct Holders {
    next_turn: Turn,
    by_source: HashMap<Source, BTreeMap<Turn, oneshot::Sender<()>>>,
    /// The sources by how many places they hold.
    by_count: BTreeSet<(usize, Source)>,
    /// When the last place was given back.
    freed_at: Option<Instant>,
}

/// What can be done for a newcomer when no place is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    /// A connection was told to leave.
    GivesWay,
    /// Nobody holds more than one place: the next one that ends makes room.
    Wait,
    /// Its source has its share, and places come free all the time: a herd comes back.
    WaitBehindOthers,
    /// Its source has its share, of connections that do not go on.
    Refuse,
}

impl Places {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(max)),
            max,
            waiting: Arc::new(Semaphore::new(max.div_ceil(2))),
            holders: Mutex::default(),
        })
    }

    /// A place for a connection from `peer`. May wait for one that has none yet, never for another of its source.
    pub(super) async fn take(self: &Arc<Self>, peer: IpAddr) -> Taken {
        if let Some((place, wanted)) = self.try_take(peer) {
            return Taken::Place(place, wanted);
        }
        let source = Source::of(peer);
        let remedy = self.lock().make_room(source);
        match remedy {
            Remedy::GivesWay | Remedy::Wait => match Arc::clone(&self.free).acquire_owned().await {
                Ok(permit) => {
                    let (place, wanted) = self.hold(source, permit);
                    Taken::Place(place, wanted)
                }
                Err(_) => Taken::Refused,
            },
            Remedy::WaitBehindOthers => match Arc::clone(&self.waiting).try_acquire_owned() {
                Ok(room) => Taken::Waiting(Waiting {
                    places: Arc::clone(self),
                    peer,
                    _room: room,
                }),
                Err(_) => Taken::Refused,
            },
            Remedy::Refuse => Taken::Refused,
        }
    }

    /// A place, if one is free.
    pub(crate) fn try_take(self: &Arc<Self>, peer: IpAddr) -> Option<(Place, Wanted)> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(self.hold(Source::of(peer), permit))
    }

    fn hold(self: &Arc<Self>, source: Source, permit: OwnedSemaphorePermit) -> (Place, Wanted) {
        let (sender, receiver) = oneshot::channel();
        let place = Place {
            places: Arc::clone(self),
            source,
            turn: self.lock().add(source, sender),
            _permit: permit,
        };
        (place, Wanted(receiver))
    }

    /// Places that are taken.
    pub(crate) fn taken(&self) -> usize {
        self.max - self.free.available_permits().min(self.max)
    }

    /// Fewer than half of the places are free.
    pub(super) fn run_short(&self) -> bool {
        self.free.available_permits() < self.max / 2
    }

    fn lock(&self) -> MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Waits as long as handshakes end. It looks instead of queueing: what a connection gave way for is another's.
    pub(super) async fn place(self) -> Option<(Place, Wanted)> {
        loop {
            if let Some(taken) = self.places.try_take(self.peer) {
                return Some(taken);
            }
            if !self.places.lock().goes_on() {
                return None;
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

impl Place {
    /// The connection turned out to come from elsewhere; it stays as old as it is.
    pub(super) fn move_to(&mut self, peer: IpAddr) {
        let source = Source::of(peer);
        let mut holders = self.places.lock();
        if let Some(sender) = holders.remove(self.source, self.turn) {
            holders.insert(source, self.turn, sender);
        }
        drop(holders);
        self.source = source;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut holders = self.places.lock();
        holders.remove(self.source, self.turn);
        holders.freed_at = Some(Instant::now());
    }
}

impl Wanted {
    /// Returns when the connection has to leave, for the sake of a newcomer.
    pub(super) async fn wait(self) {
        if self.0.await.is_err() {
            // The place was given back meanwhile, so nobody will want it.
            std::future::pending().await
        }
    }
}

impl Holders {
    fn make_room(&mut self, newcomer: Source) -> Remedy {
        let held = self.by_source.get(&newcomer).map_or(0, BTreeMap::len);
        let Some(&(most, source)) = self.by_count.last() else {
            return Remedy::Wait;
        };
        if most <= held + 1 {
            return match held {
                0 => Remedy::Wait,
                _ if self.goes_on() => Remedy::WaitBehindOthers,
                _ => Remedy::Refuse,
            };
        }
        let oldest = self
            .by_source
            .get(&source)
            .and_then(|held| held.keys().next());
        if let Some(sender) = oldest.copied().and_then(|turn| self.remove(source, turn)) {
            // Nobody hears it who is on the way to a shard, and gives the place back by that.
            let _ = sender.send(());
        }
        Remedy::GivesWay
    }

    fn goes_on(&self) -> bool {
        self.freed_at.is_some_and(|at| at.elapsed() < LATELY)
    }

    fn add(&mut self, source: Source, sender: oneshot::Sender<()>) -> Turn {
        let turn = self.next_turn;
        self.next_turn += 1;
        self.insert(source, turn, sender);
        turn
    }

    fn insert(&mut self, source: Source, turn: Turn, sender: oneshot::Sender<()>) {
        let held = self.by_source.entry(source).or_default();
        self.by_count.remove(&(held.len(), source));
        held.insert(turn, sender);
        self.by_count.insert((held.len(), source));
    }

    /// `None` when it was told to leave already.
    fn remove(&mut self, source: Source, turn: Turn) -> Option<oneshot::Sender<()>> {
        let held = self.by_source.get_mut(&source)?;
        let count = held.len();
        let sender = held.remove(&turn)?;
        self.by_count.remove(&(count, source));
        match held.len() {
            0 => drop(self.by_source.remove(&source)),
            left => drop(self.by_count.insert((left, source))),
        }
        Some(sender)
    }
}

impl Source {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            IpAddr::V6(v6) => Self::V6((v6.to_bits() >> 64) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn take(places: &Arc<Places>, peer: &str) -> Option<(Place, Wanted)> {
        match places.take(peer.parse().unwrap()).await {
            Taken::Place(place, wanted) => Some((place, wanted)),
            Taken::Waiting(waiting) => waiting.place().await,
            Taken::Refused => None,
        }
    }

    /// A future that is ready without waiting.
    async fn at_once<T>(future: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = future => done,
            () = std::future::ready(()) => panic!("it waits"),
        }
    }

    fn is_wanted(wanted: &mut Wanted) -> bool {
        wanted.0.try_recv().is_ok()
    }

    #[tokio::test]
    async fn the_oldest_of_the_source_with_most_gives_way() {
        let places = Places::new(4);
        let mut lone = take(&places, "192.0.2.2").await.unwrap();
        let mut crowd = Vec::new();
        for _ in 0..3 {
            crowd.push(take(&places, "192.0.2.1").await.unwrap());
        }
        assert!(
            take(&places, "192.0.2.1").await.is_none(),
            "it has its share"
        );
        let newcomer = tokio::spawn({
            let places = Arc::clone(&places);
            async move { take(&places, "192.0.2.3").await }
        });
        tokio::task::yield_now().await;
        let wanted: Vec<_> = crowd
            .iter_mut()
            .map(|(_, wanted)| is_wanted(wanted))
            .collect();
        assert_eq!(wanted, [true, false, false]);
        assert!(!is_wanted(&mut lone.1));
        assert!(!newcomer.is_finished(), "never more than there are places");
        crowd.remove(0);
        let newcomer = newcomer.await.unwrap().unwrap();
        // Two, one and one: the second of the lone ones has no better right than the second of the others.
        assert!(take(&places, "192.0.2.2").await.is_none());
        assert_eq!(places.taken(), 4);
        drop((lone, crowd, newcomer));
        assert_eq!(places.taken(), 0);
        let holders = places.lock();
        assert!(holders.by_source.is_empty() && holders.by_count.is_empty());
    }

    #[tokio::test]
    async fn a_herd_of_one_source_that_goes_on_is_served_one_after_the_other() {
        let places = Places::new(50);
        drop(take(&places, "192.0.2.1").await.unwrap());
        let herd: Vec<_> = (0..75)
            .map(|_| {
                let places = Arc::clone(&places);
                tokio::spawn(async move {
                    let place = take(&places, "192.0.2.1").await;
                    tokio::task::yield_now().await;
                    place.is_some()
                })
            })
            .collect();
        for client in herd {
            assert!(client.await.unwrap(), "it was refused");
        }
    }

    #[tokio::test]
    async fn who_holds_many_places_and_gives_some_back_does_not_hold_up_others() {
        let places = Places::new(4);
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(take(&places, "192.0.2.1").await.unwrap());
        }
        drop(held.pop());
        held.push(take(&places, "192.0.2.1").await.unwrap());
        // Handshakes go on, so its further ones may wait, but few and not here.
        let address = "192.0.2.1".parse().unwrap();
        let mut further = Vec::new();
        for _ in 0..4 {
            further.push(at_once(places.take(address)).await);
        }
        let count = |what: fn(&Taken) -> bool| further.iter().filter(|taken| what(taken)).count();
        assert_eq!(count(|taken| matches!(taken, Taken::Waiting(_))), 2);
        assert_eq!(count(|taken| matches!(taken, Taken::Refused)), 2);
        // What is given up for a newcomer goes to it, whoever waited before.
        let waiting = further.into_iter().filter_map(|taken| match taken {
            Taken::Waiting(waiting) => Some(tokio::spawn(waiting.place())),
            _ => None,
        });
        let waiting: Vec<_> = waiting.collect();
        let newcomer = take(&places, "192.0.2.3");
        let give_way = async {
            tokio::task::yield_now().await;
            let wanted = held.iter_mut().position(|(_, wanted)| is_wanted(wanted));
            drop(held.remove(wanted.expect("one gives way")));
        };
        let (newcomer, ()) = tokio::join!(newcomer, give_way);
        assert!(newcomer.is_some());
        for waiting in waiting {
            assert!(waiting.await.unwrap().is_none(), "no further one came free");
        }
    }

    #[tokio::test]
    async fn where_all_have_one_a_newcomer_waits() {
        let places = Places::new(2);
        let mut first = take(&places, "192.0.2.1").await.unwrap();
        let mut second = take(&places, "192.0.2.2").await.unwrap();
        let newcomer = tokio::spawn({
            let places = Arc::clone(&places);
            async move { take(&places, "192.0.2.3").await }
        });
        tokio::task::yield_now().await;
        assert!(!is_wanted(&mut first.1) && !is_wanted(&mut second.1));
        assert!(!newcomer.is_finished());
        drop(first);
        assert!(newcomer.await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_host_has_many_addresses_in_its_ipv6_prefix_and_one_in_ipv4() {
        let places = Places::new(2);
        let _held = take(&places, "2001:db8::1").await.unwrap();
        let _held = take(&places, "2001:db8::2").await.unwrap();
        assert!(take(&places, "2001:db8::3:4").await.is_none());
        assert_eq!(
            Source::of("::ffff:192.0.2.1".parse().unwrap()),
            Source::of("192.0.2.1".parse().unwrap())
        );
        assert_ne!(
            Source::of("2001:db8::".parse().unwrap()),
            Source::of("2001:db8:0:1::".parse().unwrap())
        );
    }

    #[tokio::test]
    async fn behind_a_balancer_the_announced_source_counts() {
        let places = Places::new(3);
        let balancer = "10.0.0.1";
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut taken = take(&places, balancer).await.unwrap();
            taken.0.move_to("192.0.2.1".parse().unwrap());
            held.push(taken);
        }
        let newcomer = tokio::spawn({
            let places = Arc::clone(&places);
            async move { take(&places, balancer).await }
        });
        tokio::task::yield_now().await;
        assert!(is_wanted(&mut held[0].1));
        // Who was told to leave does not count again by moving.
        held[0].0.move_to("192.0.2.9".parse().unwrap());
        held.remove(0);
        assert!(newcomer.await.unwrap().is_some());
        assert_eq!(places.lock().by_source.len(), 1);
    }
}
