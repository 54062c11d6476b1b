//! What tests of the shard's steps share: its state without a thread, so that a test takes its turns one by one, and
//! clients to adopt. Only compiled for tests; no assertions here.

use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use towline_derp::connected::Connected;
use towline_derp::relay::{Shard, ShardConfig, ShardId};
use towline_io::{Driver, DriverConfig, DriverKind};
use towline_wire::NodePublic;

use super::command::{Adopted, Role};
use super::mailbox::mesh_of_rings;
use super::stalled::SocketRules;
use super::turn::Thread;
use crate::admission::Generation;
use crate::stage::Places;

/// A shard that is alone and takes its turns when it is told to.
pub(super) fn thread(kind: DriverKind) -> Thread {
    let config = ShardConfig::new(ShardId(0), 1, [1; 16], NodePublic([9; 32]));
    let rings = mesh_of_rings(1).pop().unwrap();
    Thread::new(
        ShardId(0),
        Shard::new(config, [2; 32]),
        Driver::open(kind, &DriverConfig::default()).unwrap(),
        rings,
        mpsc::channel().1,
        SocketRules {
            write_timeout: None,
            mesh_write_timeout: Duration::from_secs(60),
        },
    )
}

/// A client that has just been admitted, and its end of the connection.
pub(super) async fn admitted(key: u8, mesh: bool, decided: u64) -> (TcpStream, Adopted) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (theirs, ours) = tokio::join!(TcpStream::connect(addr), listener.accept());
    let socket = OwnedFd::from(ours.unwrap().0.into_std().unwrap());
    let (half_open_place, _) = Places::new(1).try_take(addr.ip()).unwrap();
    let client_places = Arc::new(Semaphore::new(1));
    let client = Connected {
        key: NodePublic([key; 32]),
        addr,
        mesh,
        prober: false,
        not_ideal: false,
        can_ack_pings: false,
        go_client: false,
        app_name: None,
        limits: None,
    };
    let adopted = Adopted {
        socket,
        tls: None,
        websocket: None,
        plaintext: Vec::new(),
        raw: Vec::new(),
        unsent: Vec::new(),
        active_tls: None,
        role: Role::Client {
            client,
            decided: Generation::of(decided),
            server_info_frame: Vec::new(),
            half_open_place,
            client_place: client_places.try_acquire_owned().unwrap(),
        },
    };
    (theirs.unwrap(), adopted)
}
