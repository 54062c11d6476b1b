//! The pages that every DERP server has, as derper answers them.

use towline_wire::limits::CHALLENGE_BYTES_MAX;

use super::{RequestHead, Response};

/// What `/` and every unknown path show (derper's `-home`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HomePage {
    /// A few words on what this server is.
    #[default]
    About,
    /// Nothing.
    Blank,
    /// Another site, by its `http` or `https` URL.
    Redirect(String),
}

const HTML: &str = "text/html; charset=utf-8";

pub(super) fn home(page: &HomePage, derp_enabled: bool, method: &str) -> Response {
    match page {
        HomePage::About if derp_enabled => Response::with_body(200, HTML, ABOUT.as_bytes()),
        HomePage::About => Response::with_body(200, HTML, ABOUT_DISABLED.as_bytes()),
        HomePage::Blank => Response::with_body(200, HTML, b"".as_slice()),
        HomePage::Redirect(url) => redirect(url, method),
    }
}

/// A temporary redirect, with the small body that Go gives it.
pub(super) fn redirect(url: &str, method: &str) -> Response {
    let response = Response::empty(302).field("Location", url.to_owned());
    if method != "GET" && method != "HEAD" {
        return response;
    }
    let body = format!("<a href=\"{}\">Found</a>.\n\n", escape(url)).into_bytes();
    response.field("Content-Type", HTML).body(body)
}

/// `/derp/probe` and `/derp/latency-check`: how clients without UDP measure the way to us. Scripts
/// of any origin may, because Tailscale in a browser does.
pub(super) fn probe(method: &str) -> Response {
    match method {
        "GET" | "HEAD" => Response::empty(200).field("Access-Control-Allow-Origin", "*"),
        _ => Response::text(405, "bogus probe method\n").field("Allow", "GET, HEAD"),
    }
}

/// `/generate_204`: how clients notice a captive portal. The challenge shows that it was us who
/// answered; it is echoed only when it cannot be mistaken for anything else.
pub(super) fn no_content(head: &RequestHead<'_>) -> Response {
    let response = Response::empty(204).field(
        "Cache-Control",
        "no-cache, no-store, must-revalidate, no-transform, max-age=0",
    );
    match head
        .field("x-tailscale-challenge")
        .and_then(accepted_challenge)
    {
        Some(challenge) => response.field("X-Tailscale-Response", format!("response {challenge}")),
        None => response,
    }
}

fn accepted_challenge(challenge: &[u8]) -> Option<&str> {
    let accepted = (1..=CHALLENGE_BYTES_MAX).contains(&challenge.len())
        && challenge
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(byte));
    if accepted {
        str::from_utf8(challenge).ok()
    } else {
        None
    }
}

/// `/robots.txt`: nothing here is worth indexing.
pub(super) fn robots() -> Response {
    Response::with_body(
        200,
        "text/plain; charset=utf-8",
        b"User-agent: *\nDisallow: /\n".as_slice(),
    )
}

fn escape(url: &str) -> String {
    let mut escaped = String::with_capacity(url.len());
    for character in url.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

macro_rules! about {
    ($status:literal) => {
        concat!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><title>DERP relay</title></head><body>\n",
            "<h1>DERP</h1>\n",
            "<p>This is a relay for Tailscale's DERP protocol, run by towline. It passes packets that \
             are encrypted end to end between clients which cannot reach each other directly, and \
             tells clients the address they are seen from.</p>\n",
            $status,
            "</body></html>\n",
        )
    };
}

const ABOUT: &str = about!("");
const ABOUT_DISABLED: &str = about!("<p>Relaying is <b>disabled</b> here.</p>\n");
