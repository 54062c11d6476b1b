//! As much of HTTP/1.1 as a relay needs before a connection becomes DERP: request heads, the pages
//! of derper, and the response head that a client reads.
//!
//! Not a web server: bodies of requests are only ever skipped, and a page is small and in memory.
//! The one caller is `handshake`; the types of pages that only the relay can answer ([`PageRequest`],
//! [`Response`]) go through it.

mod answers;
mod error;
mod head;
mod head_end;
mod response;
mod response_head;
mod routes;

pub use answers::HomePage;
pub use error::HttpError;
pub use head::{RequestHead, Version};
pub use response::Response;
pub use routes::{BadUpgrade, Page, PageRequest};

pub(crate) use head::Body;
pub(crate) use head_end::HeadEnd;
pub(crate) use response::Framing;
pub(crate) use response_head::ResponseHead;
pub(crate) use routes::{Access, Opening, Route, UpgradeRequest, route};
