//! The way out to other shards.

use super::{Message, ShardId};

/// The mailbox of another shard has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the mailbox of the shard is full")]
pub struct MailboxFull;

/// Carries messages to other shards: in order between any two, never lost once accepted.
pub trait Mailbox {
    /// Takes the message, or has no room for it.
    ///
    /// # Errors
    /// There is no room now.
    fn send(&mut self, to: ShardId, message: Message<'_>) -> Result<(), MailboxFull>;
}

/// The mailbox of a relay that has one shard.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMailbox;

impl Mailbox for NoMailbox {
    fn send(&mut self, _: ShardId, _: Message<'_>) -> Result<(), MailboxFull> {
        Err(MailboxFull)
    }
}
