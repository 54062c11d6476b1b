//! A TCP stream of the handshake stage, over `tokio-uring` or plain `tokio`.
//!
//! The only module that knows `tokio-uring`. Handshakes are rare and branchy, so they are async code; the packets that
//! follow them never come here.

use std::io;

/// What a handshake needs of a stream. One operation at a time.
pub(crate) trait Stream {
    /// Reads what is there into the capacity of `buffer`, which comes back holding just that; empty at the end of stream.
    async fn read(&self, buffer: Vec<u8>) -> io::Result<Vec<u8>>;

    /// Writes everything.
    async fn write_all(&self, bytes: Vec<u8>) -> io::Result<()>;
}

impl Stream for tokio_uring::net::TcpStream {
    async fn read(&self, mut buffer: Vec<u8>) -> io::Result<Vec<u8>> {
        buffer.clear();
        let (read, mut buffer) = Self::read(self, buffer).await;
        buffer.truncate(read?);
        Ok(buffer)
    }

    async fn write_all(&self, bytes: Vec<u8>) -> io::Result<()> {
        Self::write_all(self, bytes).await.0
    }
}

impl Stream for tokio::net::TcpStream {
    async fn read(&self, mut buffer: Vec<u8>) -> io::Result<Vec<u8>> {
        loop {
            self.readable().await?;
            buffer.clear();
            match self.try_read_buf(&mut buffer) {
                Ok(_) => return Ok(buffer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn write_all(&self, bytes: Vec<u8>) -> io::Result<()> {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            self.writable().await?;
            match self.try_write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => rest = &rest[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
