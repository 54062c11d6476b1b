//! How a measurement fails.

use std::io;

use towline_io::DriverError;

/// Why one client could not connect.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The connection could not be made, or broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The TLS handshake failed.
    #[error(transparent)]
    Tls(#[from] towline_tls::HandshakeError),
    /// A record could not be opened or sealed.
    #[error(transparent)]
    Record(#[from] towline_tls::TlsError),
    /// The DERP handshake failed.
    #[error(transparent)]
    Derp(#[from] towline_derp::handshake::HandshakeError),
    /// The relay closed the connection before it was ready.
    #[error("the relay closed the connection before it was ready")]
    Closed,
    /// No randomness for a key.
    #[error("no randomness: {0}")]
    Random(getrandom::Error),
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The options contradict each other or the machine.
    #[error("{0}")]
    Options(String),
    /// A client could not connect, after trying again.
    #[error("client {client} cannot connect: {error}")]
    Dial {
        /// Which, counted from 1.
        client: u32,
        /// Of the last try.
        error: DialError,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(towline_tls::HandshakeError),
    /// The driver of a thread could not be opened.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The driver of a thread broke.
    #[error("the driver broke: {0}")]
    Broken(io::Error),
    /// The watched process is not there.
    #[error("process {pid} cannot be watched: {error}")]
    Watch {
        /// Of the relay.
        pid: u32,
        /// From `/proc`.
        error: io::Error,
    },
    /// The relay delivered nothing at all.
    #[error("nothing arrived in {seconds:.1} s; the relay closed {lost} of {clients} clients")]
    NothingArrived {
        /// Measured time.
        seconds: f64,
        /// Clients whose connection ended.
        lost: u32,
        /// All clients.
        clients: u32,
    },
    /// A thread of the generator panicked.
    #[error("a thread of the generator panicked")]
    Panicked,
}
