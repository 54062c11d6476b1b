//! What the tests share that start the real program: a process that ends with its test, and its pages.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longer than anything takes here on a machine with other work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A process that does not outlive its test.
pub(crate) struct Started(pub(crate) Child);

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended, as it should.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The answer to a request for a page, head and body. Waits for a relay that is starting. That something takes connections
/// there says less: a process that another test starts holds a copy of a port that was tried as free, until it has become
/// its program.
pub(crate) fn page(address: SocketAddr, path: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match try_page(address, path) {
            Ok(answer) if answer.starts_with("HTTP/1.1 ") => return answer,
            other => assert!(
                Instant::now() < deadline,
                "no relay at {address}: {other:?}"
            ),
        }
        sleep(Duration::from_millis(20));
    }
}

fn try_page(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
