//! Pages as a client gets them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use towline_derp::http::{Page, PageRequest, Response};

use super::bootstrap::Bootstrap;
use super::{Pages, Source};
use crate::config::{DebugConfig, HttpConfig, UnpublishedName};

const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[tokio::test]
async fn metrics_come_in_both_forms() {
    let pages = pages(&DebugConfig::default());
    let answer = get(&pages, LOCAL, Page::Metrics, "/metrics", "").await;
    assert_eq!(answer.status(), 200);
    assert!(text(&answer).contains("towline_relay_connections 3\n"));
    let answer = get(&pages, LOCAL, Page::Debug, "/debug/varz", "").await;
    assert!(text(&answer).contains("derp_current_connections 3\n"));
    let answer = get(&pages, LOCAL, Page::Debug, "/debug/check", "").await;
    assert!(text(&answer).contains("derp.Server ConsistencyCheck okay"));
    let answer = get(&pages, LOCAL, Page::Debug, "/debug/", "").await;
    assert!(text(&answer).contains("/debug/varz"));
    let answer = get(&pages, LOCAL, Page::Debug, "/debug/pprof/heap", "").await;
    assert_eq!(answer.status(), 404);
}

#[tokio::test]
async fn addresses_that_may_read_metrics() {
    let pages = pages(&DebugConfig {
        trusted_cidrs: vec!["198.51.100.0/24".parse().unwrap()],
        allow_ip: Some("203.0.113.7".parse().unwrap()),
        key_file: None,
    });
    for (peer, allowed) in [
        ("127.0.0.1", true),
        ("::1", true),
        ("::ffff:127.0.0.1", true),
        ("100.64.0.0", true),
        ("100.127.255.255", true),
        ("100.128.0.0", false),
        ("100.115.92.1", false),
        ("fd7a:115c:a1e0::1", true),
        ("fd7a:115c:a1e1::1", false),
        ("198.51.100.9", true),
        ("::ffff:198.51.100.9", true),
        ("203.0.113.7", true),
        ("203.0.113.8", false),
        ("10.0.0.1", false),
    ] {
        assert_eq!(
            pages.debug_allowed(peer.parse().unwrap()),
            allowed,
            "{peer}"
        );
    }
}

#[tokio::test]
async fn a_key_opens_the_pages_to_a_stranger() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    let pages = pages(&DebugConfig {
        key_file: Some(file.clone()),
        ..DebugConfig::default()
    });
    assert!(pages.debug_allowed(STRANGER));
    for (content, query, status) in [
        (None, "debugkey=secret", 403),
        (Some(""), "debugkey=", 403),
        (Some("secret\n"), "debugkey=secret", 200),
        (Some("secret\n"), "x=1&debugkey=s%65cret", 200),
        (Some("secret\n"), "debugkey=secre", 403),
        (Some("secret\n"), "", 403),
        (Some("new"), "debugkey=secret", 403),
    ] {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let answer = get(&pages, STRANGER, Page::Metrics, "/metrics", query).await;
        assert_eq!(answer.status(), status, "{content:?} {query}");
    }
}

#[tokio::test]
async fn a_proof_is_given_for_its_token_only() {
    let pages = pages(&DebugConfig::default());
    let path = |token: &str| format!("/.well-known/acme-challenge/{token}");
    let answer = get(&pages, STRANGER, Page::AcmeChallenge, &path("token"), "").await;
    assert!(text(&answer).contains("token.proof"));
    let answer = get(&pages, STRANGER, Page::AcmeChallenge, &path("other"), "").await;
    assert_eq!(answer.status(), 404);
}

#[tokio::test]
async fn bootstrap_dns_lists_published_names_and_answers_others() {
    // Addresses resolve to themselves without a name server.
    let bootstrap = Bootstrap::new(&HttpConfig {
        bootstrap_dns_names: vec!["192.0.2.1".to_owned()],
        unpublished_bootstrap_dns_names: vec![UnpublishedName("192.0.2.2".to_owned())],
        ..HttpConfig::default()
    });
    assert_eq!(
        bootstrap.answer(""),
        Response::with_body(200, "application/json", b"".as_slice())
    );
    bootstrap.refresh().await;
    let only = |name: &str| {
        let body = format!("{{\n\t\"{name}\": [\n\t\t\"{name}\"\n\t]\n}}");
        Response::with_body(200, "application/json", body.into_bytes())
    };
    assert_eq!(bootstrap.answer(""), only("192.0.2.1"));
    assert_eq!(bootstrap.answer("q=192.0.2.1"), only("192.0.2.1"));
    assert_eq!(bootstrap.answer("q=192.0.2.2"), only("192.0.2.2"));
    assert_eq!(bootstrap.answer("q=unknown"), only("192.0.2.1"));
    let counts = bootstrap.counts();
    assert_eq!((counts.requests, counts.queried_domains), (5, 3));
    assert_eq!((counts.published_hits, counts.published_misses), (1, 0));
    assert_eq!((counts.unpublished_hits, counts.unpublished_misses), (1, 1));
}

fn pages(debug: &DebugConfig) -> Arc<Pages> {
    let source: Source = Arc::new(|| Box::pin(async { crate::metrics::tests::input() }));
    Pages::start(&HttpConfig::default(), debug, source)
}

async fn get(pages: &Pages, peer: IpAddr, page: Page, path: &str, query: &str) -> Response {
    let request = PageRequest {
        page,
        path: path.to_owned(),
        query: query.to_owned(),
    };
    let challenge = |token: &str| (token == "token").then(|| "token.proof".to_owned());
    pages.answer(request, peer, &challenge).await
}

/// The body, as `Debug` shows it: nothing outside of `towline_derp` reads a response.
fn text(response: &Response) -> String {
    let shown = format!("{response:?}");
    let body = shown.rsplit_once("body: [").unwrap().1;
    let bytes = body
        .split(']')
        .next()
        .unwrap()
        .split(", ")
        .map(|byte| byte.parse::<u8>().unwrap());
    String::from_utf8(bytes.collect()).unwrap()
}
