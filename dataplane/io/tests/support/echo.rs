//! An echo service on a driver, with the back pressure that every owner of a driver needs: it stops
//! reading a socket whose answers do not leave.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::time::Duration;

use towline_io::{Completion, Driver, SendBuf, SocketId};

const PENDING_BYTES_MAX: usize = 128 << 10;

struct Conn {
    id: SocketId,
    pending: VecDeque<u8>,
    sending: bool,
    blocked: bool,
    paused: bool,
    ended: bool,
}

#[derive(Default)]
pub(crate) struct Echo {
    conns: HashMap<u64, Conn>,
    out: Vec<Completion>,
    /// Found no send buffer.
    waiting: VecDeque<u64>,
    pub(crate) closed: usize,
    pub(crate) failed: usize,
    pub(crate) blocked: usize,
    pub(crate) woken: bool,
}

impl Echo {
    pub(crate) fn add(&mut self, driver: &mut Driver, socket: OwnedFd, token: u64) {
        let id = driver.add(socket, token).unwrap();
        let pending = VecDeque::new();
        let conn = Conn {
            id,
            pending,
            sending: false,
            blocked: false,
            paused: false,
            ended: false,
        };
        self.conns.insert(token, conn);
    }

    pub(crate) fn len(&self) -> usize {
        self.conns.len()
    }

    pub(crate) fn turn(&mut self, driver: &mut Driver, timeout: Duration) {
        let mut out = core::mem::take(&mut self.out);
        driver.wait(Some(timeout), &mut out).unwrap();
        for completion in out.drain(..) {
            self.handle(driver, completion);
        }
        self.out = out;
        for _ in 0..self.waiting.len() {
            let Some(token) = self.waiting.pop_front() else {
                break;
            };
            self.pump(driver, token);
        }
    }

    fn handle(&mut self, driver: &mut Driver, completion: Completion) {
        match completion {
            Completion::Received { token, buf } => {
                let conn = self
                    .conns
                    .get_mut(&token)
                    .expect("bytes of a closed connection");
                assert!(!conn.ended, "bytes after the end");
                conn.pending.extend(driver.recv_bytes(&buf).iter());
                driver.recycle(buf);
                if conn.pending.len() > PENDING_BYTES_MAX && !conn.paused {
                    conn.paused = true;
                    driver.pause_recv(conn.id);
                }
                self.pump(driver, token);
            }
            Completion::Ended { token, error } => {
                let conn = self
                    .conns
                    .get_mut(&token)
                    .expect("the end of a closed connection");
                assert!(!conn.ended, "a second end");
                conn.ended = true;
                if error.is_some() {
                    self.failed += 1;
                    driver.close(conn.id);
                } else {
                    self.pump(driver, token);
                }
            }
            Completion::Sent { token, result, buf } => self.handle_sent(driver, token, result, buf),
            Completion::Writable { token } => {
                let conn = self
                    .conns
                    .get_mut(&token)
                    .expect("room on a closed connection");
                assert!(conn.blocked);
                conn.blocked = false;
                self.pump(driver, token);
            }
            Completion::Closed { token } => {
                self.conns.remove(&token).expect("closed twice");
                self.closed += 1;
            }
            Completion::Woken => self.woken = true,
        }
    }

    fn handle_sent(
        &mut self,
        driver: &mut Driver,
        token: u64,
        result: std::io::Result<usize>,
        buf: SendBuf,
    ) {
        driver.recycle_send(buf);
        let conn = self
            .conns
            .get_mut(&token)
            .expect("a send of a closed connection");
        assert!(conn.sending);
        conn.sending = false;
        match result {
            Ok(len) => {
                conn.pending.drain(..len);
                if conn.paused && conn.pending.len() < PENDING_BYTES_MAX / 2 {
                    conn.paused = false;
                    driver.resume_recv(conn.id);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                self.blocked += 1;
                conn.blocked = true;
                driver.notify_writable(conn.id);
            }
            Err(_) => {
                self.failed += 1;
                driver.close(conn.id);
                return;
            }
        }
        self.pump(driver, token);
    }

    fn pump(&mut self, driver: &mut Driver, token: u64) {
        let Some(conn) = self.conns.get_mut(&token) else {
            return;
        };
        if conn.sending || conn.blocked {
            return;
        }
        if conn.pending.is_empty() {
            if conn.ended {
                driver.close(conn.id);
            }
            return;
        }
        let Some(buf) = driver.send_buffer() else {
            self.waiting.push_back(token);
            return;
        };
        let bytes = driver.send_bytes_mut(&buf);
        let (head, _) = conn.pending.as_slices();
        let len = head.len().min(bytes.len());
        bytes[..len].copy_from_slice(&head[..len]);
        conn.sending = true;
        driver.send(conn.id, buf, len);
    }
}
