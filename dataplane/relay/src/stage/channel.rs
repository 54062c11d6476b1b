//! A stream with TLS under it, or without: plaintext in, plaintext out.
//!
//! What is written leaves when something has to be read, so that what belongs together costs one send, one segment and one
//! wake-up of the peer.
//!
//! Used where connections are opened, by us or to us; after that the shards read and write for themselves.

use std::io;

use towline_tls::{
    ClientConfig, ClientHandshake, Established, HandshakeError, Opened, ServerConfig,
    ServerHandshake, Session, TlsError, Version, pki_types::ServerName, record_len,
};

use super::stream::Stream;

/// Bytes asked of the socket at once.
const READ_BYTES: usize = 8 << 10;

/// The longest piece of plaintext sealed into one record here.
const WRITE_BYTES: usize = 8 << 10;

/// With more to send nothing is waited for: a shard sends that much at once, even beside a goodbye.
const UNSENT_BYTES_MAX: usize = crate::shard::WINDOW_BYTES_MIN;

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    #[error("the peer closed the connection")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A connection that is being opened.
pub(crate) struct Channel<'a, S> {
    stream: &'a S,
    tls: Option<Box<Session>>,
    /// Bytes read but not opened: a partial record, or more records than were asked for.
    raw: Vec<u8>,
    /// Written, sealed, and not yet sent.
    unsent: Vec<u8>,
    /// The peer may be waiting for what is unsent.
    is_waited_for: bool,
    buffer: Vec<u8>,
}

/// What a TLS handshake told about the peer.
pub(crate) struct TlsFacts {
    pub(crate) version: Version,
    /// It came only to check a TLS-ALPN-01 challenge.
    pub(crate) is_acme_challenge: bool,
    /// Client: the relay's key from its meta certificate.
    pub(crate) meta_key: Option<[u8; 32]>,
}

/// What is left of a channel for the shard that goes on with it.
pub(crate) struct Rest {
    pub(crate) tls: Option<Box<Session>>,
    pub(crate) raw: Vec<u8>,
    /// Sealed bytes that are to be sent before all others.
    pub(crate) unsent: Vec<u8>,
}

impl<'a, S: Stream> Channel<'a, S> {
    /// Without TLS; `first` was read from the stream already.
    pub(crate) fn plain(stream: &'a S, first: Vec<u8>) -> Self {
        Self {
            stream,
            tls: None,
            raw: first,
            unsent: Vec::new(),
            is_waited_for: true,
            buffer: Vec::with_capacity(READ_BYTES),
        }
    }

    /// Does a server's TLS handshake; `first` was read from the stream already.
    pub(crate) async fn accept(
        stream: &'a S,
        config: &ServerConfig,
        first: Vec<u8>,
    ) -> Result<(Self, TlsFacts), ChannelError> {
        let mut channel = Self::plain(stream, first);
        let mut handshake = ServerHandshake::new(config)?;
        loop {
            let bytes = channel.some_raw().await?;
            let result = handshake.handle_bytes(&bytes);
            channel.keep(|| handshake.poll_output());
            if let Some(established) = channel.or_send(result).await? {
                // In TLS 1.3 a server is done before its client, so these are tickets: they leave with the first answer.
                channel.is_waited_for = established.version == Version::Tls12;
                return Ok(channel.established(established));
            }
        }
    }

    /// Does a client's TLS handshake.
    pub(crate) async fn connect(
        stream: &'a S,
        config: &ClientConfig,
        name: ServerName<'static>,
    ) -> Result<(Self, TlsFacts), ChannelError> {
        let mut channel = Self::plain(stream, Vec::new());
        let mut handshake = ClientHandshake::new(config, name)?;
        loop {
            channel.keep(|| handshake.poll_output());
            let bytes = channel.some_raw().await?;
            let result = handshake.handle_bytes(&bytes);
            channel.keep(|| handshake.poll_output());
            if let Some(established) = channel.or_send(result).await? {
                // The server waits for its end.
                channel.send().await?;
                return Ok(channel.established(established));
            }
        }
    }

    /// The next plaintext, not empty.
    pub(crate) async fn read(&mut self) -> Result<Vec<u8>, ChannelError> {
        if self.tls.is_none() {
            return self.some_raw().await;
        }
        loop {
            if let Some(plaintext) = self.open_one().await? {
                return Ok(plaintext);
            }
            let more = self.read_stream().await?;
            self.raw.extend_from_slice(&more);
            self.buffer = more;
        }
    }

    /// Writes plaintext. It leaves with the next [`read`](Self::read) that has to wait, with [`send`](Self::send) or
    /// [`close`](Self::close), or goes to [`Rest::unsent`].
    pub(crate) async fn write(&mut self, plaintext: &[u8]) -> Result<(), ChannelError> {
        self.is_waited_for = true;
        let out = &mut self.unsent;
        match &mut self.tls {
            None => out.extend_from_slice(plaintext),
            Some(session) => {
                while let Some(record) = session.poll_output() {
                    out.extend_from_slice(&record);
                }
                for piece in plaintext.chunks(WRITE_BYTES) {
                    let start = out.len();
                    let (prefix, suffix) = (session.prefix_len(), session.suffix_len());
                    out.resize(start + prefix, 0);
                    out.extend_from_slice(piece);
                    out.resize(out.len() + suffix, 0);
                    session.seal(&mut out[start..], piece.len())?;
                }
            }
        }
        if out.len() > UNSENT_BYTES_MAX {
            self.send().await?;
        }
        Ok(())
    }

    /// Sends what was written.
    pub(crate) async fn send(&mut self) -> Result<(), ChannelError> {
        if !self.unsent.is_empty() {
            let unsent = core::mem::take(&mut self.unsent);
            self.stream.write_all(unsent).await?;
        }
        Ok(())
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn close(&mut self) -> Result<(), ChannelError> {
        if let Some(session) = &mut self.tls {
            self.unsent.extend_from_slice(&session.close_notify());
        }
        self.send().await
    }

    /// Whether a read would wait for the peer without sending it anything.
    pub(crate) fn only_waits(&self) -> bool {
        self.raw.is_empty() && !self.is_waited_for
    }

    /// Gives up the connection to whoever goes on with it.
    pub(crate) fn into_rest(self) -> Rest {
        Rest {
            tls: self.tls,
            raw: self.raw,
            unsent: self.unsent,
        }
    }

    fn established(mut self, established: Established) -> (Self, TlsFacts) {
        let facts = TlsFacts {
            version: established.version,
            is_acme_challenge: established.is_acme_challenge(),
            meta_key: established.meta_key,
        };
        self.raw = established.leftover;
        self.tls = Some(Box::new(established.session));
        (self, facts)
    }

    /// Opens records that are here already, until one holds data.
    async fn open_one(&mut self) -> Result<Option<Vec<u8>>, ChannelError> {
        let Some(session) = &mut self.tls else {
            return Ok(None);
        };
        let mut at = 0;
        let mut data = None;
        while data.is_none()
            && let Some(len) = record_len(&self.raw[at..])?
            && len <= self.raw.len() - at
        {
            let record = &mut self.raw[at..at + len];
            at += len;
            match session.open(record) {
                Ok(Opened::Data(range)) if !range.is_empty() => data = Some(record[range].to_vec()),
                Ok(Opened::Data(_) | Opened::Handled) => {}
                Ok(Opened::CloseNotify) => return Err(ChannelError::Closed),
                Err(error) => {
                    self.unsent
                        .extend(session.poll_output().into_iter().flatten());
                    return self.or_send(Err(error)).await;
                }
            }
        }
        self.raw.drain(..at);
        Ok(data)
    }

    /// What was read already, or else something new.
    async fn some_raw(&mut self) -> Result<Vec<u8>, ChannelError> {
        if self.raw.is_empty() {
            return self.read_stream().await;
        }
        Ok(core::mem::take(&mut self.raw))
    }

    async fn read_stream(&mut self) -> Result<Vec<u8>, ChannelError> {
        if self.is_waited_for {
            self.send().await?;
        }
        let mut buffer = core::mem::take(&mut self.buffer);
        if buffer.capacity() == 0 {
            buffer.reserve_exact(READ_BYTES);
        }
        let bytes = self.stream.read(buffer).await?;
        if bytes.is_empty() {
            Err(ChannelError::Closed)
        } else {
            Ok(bytes)
        }
    }

    fn keep(&mut self, mut next: impl FnMut() -> Option<Vec<u8>>) {
        while let Some(bytes) = next() {
            self.unsent.extend_from_slice(&bytes);
        }
    }

    /// After an error nothing else follows what the peer should know of it.
    async fn or_send<T, E>(&mut self, result: Result<T, E>) -> Result<T, ChannelError>
    where
        ChannelError: From<E>,
    {
        if result.is_err() {
            self.send().await?;
        }
        Ok(result?)
    }
}
