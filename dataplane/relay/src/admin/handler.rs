//! What the relay does for the admin socket.

use std::future::Future;
use std::time::Duration;

use towline_wire::NodePublic;

use super::{ClientsPage, ClientsQuery, LimitChange, Refusal, Status};

/// What the relay does for the admin socket. Implemented once, over the relay's own handles; the
/// futures wait for answers of the shards.
pub trait AdminHandler: Send + Sync + 'static {
    /// How the relay is.
    fn status(&self) -> impl Future<Output = Result<Status, Refusal>> + Send;

    /// A page of clients. `limit` is between 1 and [`super::CLIENTS_PER_PAGE_MAX`].
    fn clients(
        &self,
        query: ClientsQuery,
    ) -> impl Future<Output = Result<ClientsPage, Refusal>> + Send;

    /// Closes every connection of `key`; gives how many, which may be 0.
    fn kick(&self, key: NodePublic) -> impl Future<Output = Result<u32, Refusal>> + Send;

    /// Changes the limit of every connection of a key; gives how many, which may be 0.
    fn limit(&self, change: LimitChange) -> impl Future<Output = Result<u32, Refusal>> + Send;

    /// Begins to leave and returns at once: connections still open, and the time over which they
    /// close (`over`, or the configured time).
    fn drain(
        &self,
        over: Option<Duration>,
    ) -> impl Future<Output = Result<(u64, Duration), Refusal>> + Send;
}
