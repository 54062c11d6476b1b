//! How many connections the relay takes at once, by its settings and the limit of open files. Worked out once, at the start
//! of the relay (`server`).

use towline_wire::limits::HALF_OPEN_MAX_DEFAULT;

use crate::config::LimitsConfig;

/// Descriptors that are not connections: rings, listeners, files, the admin socket. Where there are few in all, a
/// quarter of them.
const RESERVED: u64 = 256;

/// Clients of one relay at most, however many descriptors it may have.
const CLIENTS_MAX: u64 = 1 << 20;

/// Handshakes, which strangers begin, are at most a tenth as many as descriptors unless the operator says otherwise; with
/// what [`descriptors_of_half_open`] counts they then have a quarter of them.
const HALF_OPEN_PART: u64 = 10;

/// How many connections the relay takes at once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) clients: u32,
    pub(crate) half_open: usize,
    /// What to say when there are not enough descriptors for both.
    pub(crate) warning: Option<String>,
}

impl Capacity {
    pub(crate) fn new(limits: &LimitsConfig, descriptors: u64) -> Self {
        let half_open = limits.half_open_max.map_or_else(
            || (descriptors / HALF_OPEN_PART).clamp(1, HALF_OPEN_MAX_DEFAULT as u64),
            u64::from,
        );
        let others = RESERVED.min(descriptors / 4) + descriptors_of_half_open(half_open);
        let clients = limits
            .connections_max
            .map_or_else(
                || descriptors.saturating_sub(others).max(descriptors / 2),
                u64::from,
            )
            .clamp(1, CLIENTS_MAX);
        let needed = clients.saturating_add(others);
        Self {
            clients: clients as u32,
            half_open: half_open as usize,
            warning: (needed > descriptors).then(|| {
                format!(
                    "{clients} clients and {half_open} handshakes at once need {needed} open files, but the limit is \
                    {descriptors}: one host can keep others out; raise it (LimitNOFILE), or lower connections-max or \
                    half-open-max"
                )
            }),
        }
    }
}

/// A half-open connection has one for the handshake and one for its shard. Half as many as there are places for may
/// wait for one, with one each.
fn descriptors_of_half_open(places: u64) -> u64 {
    2 * places + places.div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(half_open_max: Option<u32>, connections_max: Option<u32>, files: u64) -> Capacity {
        let limits = LimitsConfig {
            half_open_max,
            connections_max,
            ..LimitsConfig::default()
        };
        Capacity::new(&limits, files)
    }

    #[test]
    fn clients_and_handshakes_share_the_limit_of_open_files() {
        for files in [1, 16, 256, 1024, 20_000, 1 << 20, u64::MAX] {
            let of_files = capacity(None, None, files);
            let half_open = descriptors_of_half_open(of_files.half_open as u64);
            assert!(half_open <= (files / 4).max(3), "{files}: {of_files:?}");
            let needed = u64::from(of_files.clients) + half_open;
            assert!(needed <= files.max(4), "{files}: {of_files:?}");
            assert_eq!(of_files.warning.is_some(), files == 1, "{of_files:?}");
        }
        assert_eq!(capacity(None, None, 256).half_open, 25);
        assert_eq!(
            capacity(None, None, 1 << 20).half_open,
            HALF_OPEN_MAX_DEFAULT
        );
        assert_eq!(capacity(Some(10), None, 1000).clients, 1000 - 250 - 25);
        assert_eq!(capacity(None, None, 256).clients, 256 - 64 - 63);
    }

    #[test]
    fn what_the_operator_wants_holds_but_is_warned_of_where_files_are_too_few() {
        let wanted = capacity(Some(4096), Some(10_000), 8192);
        assert_eq!((wanted.clients, wanted.half_open), (10_000, 4096));
        assert!(wanted.warning.unwrap().contains("20496 open files"));
        assert_eq!(capacity(Some(4096), Some(10_000), 20_496).warning, None);
        let handshakes = capacity(Some(4096), None, 256);
        assert_eq!(handshakes.clients, 128, "never without clients");
        assert!(handshakes.warning.is_some());
    }
}
