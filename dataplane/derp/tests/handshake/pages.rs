//! The HTTP side: derper's pages, its port 80, and what is refused.

use std::sync::Arc;

use towline_derp::handshake::server::{Config, ConnInfo, ServerHandshake, Stage, Step};
use towline_derp::handshake::{HandshakeError, Malformation};
use towline_derp::http::{HomePage, HttpError, Page, PageRequest, Response};
use towline_wire::limits;

use crate::support::*;

const HARDENING: &str = "Content-Security-Policy: default-src 'self'; frame-ancestors 'none'; \
    form-action 'self'; base-uri 'self'; block-all-mixed-content; object-src 'none'\r\n\
    X-Frame-Options: DENY\r\nX-Content-Type-Options: nosniff\r\n\
    Strict-Transport-Security: max-age=63072000; includeSubDomains\r\n";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: derp.example.com\r\n\r\n")
}

fn on(conn: ConnInfo) -> ServerHandshake {
    ServerHandshake::new(Arc::new(config()), conn, [7; 32])
}

fn plain_port() -> ServerHandshake {
    on(ConnInfo {
        plain_http_port: true,
        ..conn()
    })
}

fn operator() -> ConnInfo {
    ConnInfo {
        debug_allowed: true,
        ..conn()
    }
}

#[test]
fn derp_wants_an_upgrade() {
    let expected = "HTTP/1.1 426 Upgrade Required\r\nContent-Type: text/plain; charset=utf-8\r\n\
        X-Content-Type-Options: nosniff\r\nContent-Length: 34\r\n\r\nDERP requires connection upgrade\n";
    let expected = expected.replace(
        "34",
        &"DERP requires connection upgrade\n".len().to_string(),
    );
    let mut server = server(config());
    assert_eq!(answer(&mut server, &get("/derp")), expected);
    let weird = "GET /derp HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n";
    assert_eq!(answer(&mut server, weird), expected);
    assert!(matches!(server.step(), Step::NeedInput));
    assert_eq!(server.stage(), Stage::Http);
    // An upgrade is none in HTTP/1.0.
    let old = "GET /derp HTTP/1.0\r\nUpgrade: DERP\r\n\r\n";
    assert!(answer(&mut server, old).starts_with("HTTP/1.0 426 "));
}

#[test]
fn derp_can_be_disabled() {
    let mut disabled = config();
    disabled.derp_enabled = false;
    let mut server = server(disabled);
    let upgrade = "GET /derp HTTP/1.1\r\nHost: a\r\nUpgrade: DERP\r\n\r\n";
    let refused = answer(&mut server, upgrade);
    assert!(
        refused.starts_with("HTTP/1.1 404 Not Found\r\n"),
        "{refused}"
    );
    assert!(
        refused.ends_with("\r\n\r\nderp server disabled\n"),
        "{refused}"
    );
    assert!(answer(&mut server, &get("/")).contains("disabled"));
    assert!(answer(&mut server, &get("/derp/probe")).starts_with("HTTP/1.1 200 "));
}

#[test]
fn probes_are_open_to_every_origin() {
    let mut server = server(config());
    for path in ["/derp/probe", "/derp/latency-check"] {
        for method in ["GET", "HEAD"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(
                answer(&mut server, &request),
                "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 0\r\n\r\n"
            );
        }
        let request = format!("POST {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let refused = answer(&mut server, &request);
        assert!(
            refused.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"),
            "{refused}"
        );
        assert!(
            refused.ends_with("\r\n\r\nbogus probe method\n"),
            "{refused}"
        );
    }
}

#[test]
fn generate_204_echoes_a_harmless_challenge() {
    let cache = "Cache-Control: no-cache, no-store, must-revalidate, no-transform, max-age=0\r\n";
    let longest = "a".repeat(64);
    for mut server in [server(config()), plain_port()] {
        assert_eq!(
            answer(&mut server, &get("/generate_204")),
            format!("HTTP/1.1 204 No Content\r\n{cache}\r\n")
        );
        for challenge in ["ts_derp1b.example:443-x", &longest] {
            let request = format!(
                "GET /generate_204 HTTP/1.1\r\nHost: a\r\nX-Tailscale-Challenge: {challenge}\r\n\r\n"
            );
            assert_eq!(
                answer(&mut server, &request),
                format!(
                    "HTTP/1.1 204 No Content\r\n{cache}\
                     X-Tailscale-Response: response {challenge}\r\n\r\n"
                )
            );
        }
        for challenge in ["", "two words", "<script>", "é", &format!("{longest}a")] {
            let request = format!(
                "GET /generate_204 HTTP/1.1\r\nHost: a\r\nX-Tailscale-Challenge: {challenge}\r\n\r\n"
            );
            assert!(!answer(&mut server, &request).contains("X-Tailscale-Response"));
        }
    }
}

#[test]
fn robots_stay_out() {
    assert_eq!(
        answer(&mut server(config()), &get("/robots.txt")),
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n{HARDENING}\
             Content-Length: 26\r\n\r\nUser-agent: *\nDisallow: /\n"
        )
    );
}

#[test]
fn home_is_everywhere() {
    let mut server = server(config());
    let home = answer(&mut server, &get("/"));
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n{HARDENING}Content-Length: "
    );
    assert!(home.starts_with(&head), "{home}");
    assert!(home.contains("DERP"));
    for path in [
        "/unknown",
        "/derp/",
        "/derp/probe/x",
        "/?a=b",
        "http://other.example/x",
        "//",
    ] {
        assert_eq!(answer(&mut server, &get(path)), home, "{path}");
    }
    assert_eq!(
        answer(&mut server, "POST / HTTP/1.1\r\nHost: a\r\n\r\n"),
        home
    );
    assert_eq!(
        answer(&mut server, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
        home
    );
    // HEAD: the same head, no body.
    let (head, _) = home.split_once("\r\n\r\n").unwrap();
    let request = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(answer(&mut server, request), format!("{head}\r\n\r\n"));
    // The caller has a clock.
    let date = "Tue, 24 Nov 2026 11:00:00 GMT";
    server.set_date(date.to_owned());
    assert!(answer(&mut server, &get("/")).contains(&format!("\r\nDate: {date}\r\n")));
}

#[test]
fn home_can_be_blank_or_elsewhere() {
    let with_home = |home| {
        let mut config = config();
        config.home = home;
        server(config)
    };
    assert_eq!(
        answer(&mut with_home(HomePage::Blank), &get("/")),
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n{HARDENING}\
             Content-Length: 0\r\n\r\n"
        )
    );
    let elsewhere = HomePage::Redirect("https://example.com/?a&b".to_owned());
    let body = "<a href=\"https://example.com/?a&amp;b\">Found</a>.\n\n";
    assert_eq!(
        answer(&mut with_home(elsewhere), &get("/x")),
        format!(
            "HTTP/1.1 302 Found\r\nLocation: https://example.com/?a&b\r\n\
             Content-Type: text/html; charset=utf-8\r\n{HARDENING}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    );
}

#[test]
fn the_plain_port_sends_everyone_to_tls() {
    let location = |request: &str| {
        let redirect = answer(&mut plain_port(), request);
        assert!(redirect.starts_with("HTTP/1.1 302 Found\r\n"), "{redirect}");
        let (_, rest) = redirect.split_once("Location: ").unwrap();
        rest.split_once("\r\n").unwrap().0.to_owned()
    };
    let asks = |host: &str, path: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    assert_eq!(
        location(&asks("derp.example.com:8080", "/")),
        "https://derp.example.com:8080/"
    );
    assert_eq!(
        location(&asks("derp.example.com", "/derp?x=1")),
        "https://derp.example.com/derp?x=1"
    );
    assert_eq!(
        location(&asks("[2001:db8::1]:8080", "/a")),
        "https://[2001:db8::1]:8080/a"
    );
    assert_eq!(
        location(&asks("[2001:db8::1]", "/a")),
        "https://[2001:db8::1]/a"
    );
    let head = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(answer(&mut plain_port(), head).ends_with("\r\n\r\n"));

    let refused = answer(&mut plain_port(), "POST / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(
        refused.starts_with("HTTP/1.1 400 Bad Request\r\n"),
        "{refused}"
    );
    assert!(refused.ends_with("\r\n\r\nUse HTTPS\n"), "{refused}");
    // DERP is not here.
    let upgrade = "GET /derp HTTP/1.1\r\nHost: a\r\nUpgrade: DERP\r\n\r\n";
    assert_eq!(location(upgrade), "https://a/derp");
    // A client that does not say where it wanted to go cannot be sent there.
    let mut server = plain_port();
    let nowhere = server.handle_bytes(b"GET / HTTP/1.0\r\n\r\n");
    assert_eq!(
        nowhere,
        Err(HandshakeError::Malformed(Malformation::Http(
            HttpError::Host
        )))
    );
}

#[test]
fn operators_pages_are_for_operators() {
    let paths = ["/metrics", "/debug", "/debug/", "/debug/varz?format=text"];
    for path in paths {
        let refused = answer(&mut server(config()), &get(path));
        assert!(
            refused.starts_with("HTTP/1.1 403 Forbidden\r\n"),
            "{refused}"
        );
        assert!(
            refused.ends_with("\r\n\r\ndebug access denied\n"),
            "{refused}"
        );
        // Behind a proxy everyone has the address of the proxy.
        let forwarded =
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n");
        assert!(answer(&mut on(operator()), &forwarded).starts_with("HTTP/1.1 403 "));
        // And on the plain port too.
        assert!(answer(&mut plain_port(), &get(path)).starts_with("HTTP/1.1 403 "));
    }
    for (path, page, query) in [
        ("/metrics", Page::Metrics, ""),
        ("/debug/varz?format=text", Page::Debug, "format=text"),
    ] {
        let mut server = on(operator());
        assert_eq!(answer(&mut server, &get(path)), "");
        let path = path.split('?').next().unwrap().to_owned();
        let Step::Page(request) = server.step() else {
            panic!("no page for {path}")
        };
        assert_eq!(
            request,
            PageRequest {
                page,
                path,
                query: query.to_owned()
            }
        );
    }
}

#[test]
fn pages_of_the_relay_are_answered_in_their_turn() {
    let mut server = on(operator());
    let two = format!("{}{}", get("/metrics"), get("/derp/probe"));
    assert_eq!(
        answer(&mut server, &two),
        "",
        "the second request waits for the first"
    );
    let page = Response::with_body(200, "text/plain; version=0.0.4", b"up 1\n".as_slice());
    server.handle_page(page).unwrap();
    let answers = String::from_utf8(output(&mut server)).unwrap();
    assert_eq!(
        answers,
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n{HARDENING}\
             Content-Length: 5\r\n\r\nup 1\n\
             HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 0\r\n\r\n"
        )
    );
    assert!(matches!(server.step(), Step::NeedInput));
    // A page that nobody asked for changes nothing.
    server.handle_page(Response::empty(204)).unwrap();
    assert_eq!(output(&mut server), b"");
}

#[test]
fn bootstrap_dns_and_acme_are_the_relays() {
    let mut server = server(config());
    assert_eq!(
        answer(&mut server, &get("/bootstrap-dns?q=log.tailscale.com")),
        ""
    );
    let Step::Page(request) = server.step() else {
        panic!("no page")
    };
    assert_eq!(
        (request.page, &*request.query),
        (Page::BootstrapDns, "q=log.tailscale.com")
    );
    server
        .handle_page(Response::with_body(
            200,
            "application/json",
            b"{}".as_slice(),
        ))
        .unwrap();
    let page = String::from_utf8(output(&mut server)).unwrap();
    assert!(
        page.contains("\r\nConnection: close\r\n") && page.ends_with("\r\n\r\n{}"),
        "{page}"
    );
    assert!(matches!(server.step(), Step::CloseAfterOutput));

    let mut server = plain_port();
    assert_eq!(
        answer(&mut server, &get("/.well-known/acme-challenge/token")),
        ""
    );
    let Step::Page(request) = server.step() else {
        panic!("no page")
    };
    assert_eq!(request.page, Page::AcmeChallenge);
    assert_eq!(request.path, "/.well-known/acme-challenge/token");
    let posted = "POST /.well-known/acme-challenge/token HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(answer(&mut plain_port(), posted).starts_with("HTTP/1.1 405 "));
}

#[test]
fn connections_persist_as_the_client_wishes() {
    let goes_on = |request: &str| {
        let mut server = server(config());
        let answer = answer(&mut server, request);
        let goes_on = matches!(server.step(), Step::NeedInput);
        assert_eq!(
            answer.contains("\r\nConnection: close\r\n"),
            !goes_on,
            "{answer}"
        );
        goes_on
    };
    assert!(goes_on("GET /robots.txt HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert!(goes_on(
        "GET /robots.txt HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
    ));
    assert!(!goes_on(
        "GET /robots.txt HTTP/1.1\r\nHost: a\r\nConnection: TE, Close\r\n\r\n"
    ));
    assert!(!goes_on("GET /robots.txt HTTP/1.0\r\nHost: a\r\n\r\n"));
    assert!(!goes_on(
        "GET /robots.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    ));
    let waits = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    assert!(!goes_on(waits));
    let large = limits::HTTP_REQUEST_BODY_BYTES_MAX + 1;
    assert!(!goes_on(&format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {large}\r\n\r\n"
    )));
}

#[test]
fn bodies_are_skipped() {
    let mut server = server(config());
    let post = "POST /generate_204 HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n";
    assert!(answer(&mut server, &format!("{post}0123")).starts_with("HTTP/1.1 204 "));
    assert_eq!(answer(&mut server, "456"), "");
    let next = format!("789{}", get("/derp/probe"));
    assert!(answer(&mut server, &next).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_client_that_asks_without_reading_is_cut_off() {
    let mut server = server(config());
    let requests = get("/").repeat(10_000);
    server.handle_bytes(requests.as_bytes()).unwrap();
    let answers = output(&mut server);
    assert!(
        answers.len() < 2 * limits::HTTP_OUTPUT_BYTES_MAX,
        "{}",
        answers.len()
    );
    assert!(
        String::from_utf8(answers)
            .unwrap()
            .contains("\r\nConnection: close\r\n")
    );
    assert!(matches!(server.step(), Step::CloseAfterOutput));
}

#[test]
fn heads_that_are_none() {
    let refused = |request: &str| {
        let mut server = server(config());
        let error = server.handle_bytes(request.as_bytes()).unwrap_err();
        assert!(matches!(server.step(), Step::CloseAfterOutput));
        let HandshakeError::Malformed(Malformation::Http(error)) = error else {
            panic!("{error}")
        };
        let answer = String::from_utf8(output(&mut server)).unwrap();
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        (
            error,
            answer["HTTP/1.1 ".len()..][..3].parse::<u16>().unwrap(),
        )
    };
    assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), (HttpError::Host, 400));
    assert_eq!(
        refused("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (HttpError::Host, 400)
    );
    assert_eq!(
        refused("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        (HttpError::Host, 400)
    );
    assert_eq!(
        refused("GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n"),
        (HttpError::Target, 400)
    );
    assert_eq!(
        refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (HttpError::Version, 505)
    );
    assert!(matches!(
        refused("\x16\x03\x01\n\n"),
        (HttpError::Syntax(_), 400)
    ));
    assert!(matches!(refused("\r\n\r\n"), (HttpError::Syntax(_), 400)));
    assert!(matches!(
        refused("GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        (HttpError::Syntax(_), 400)
    ));
    let folded = "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n";
    assert!(matches!(refused(folded), (HttpError::Syntax(_), 400)));

    let body = |fields: &str| refused(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    assert_eq!(
        body("Transfer-Encoding: chunked\r\n"),
        (HttpError::LengthRequired, 411)
    );
    for ambiguous in [
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999\r\n",
    ] {
        assert_eq!(body(ambiguous), (HttpError::BodyLength, 400), "{ambiguous}");
    }
}

#[test]
fn heads_have_bounds() {
    let with_fields = |count: usize| {
        let fields: String = (1..count).map(|n| format!("X-{n}: y\r\n")).collect();
        format!("GET /derp/probe HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
    };
    let max = limits::HTTP_HEADERS_MAX;
    assert!(answer(&mut server(config()), &with_fields(max)).starts_with("HTTP/1.1 200 "));
    let refused = |request: &str| {
        let mut server = server(config());
        let error = server.handle_bytes(request.as_bytes()).unwrap_err();
        let answer = String::from_utf8(output(&mut server)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        error
    };
    let http = |error| HandshakeError::Malformed(Malformation::Http(error));
    assert_eq!(
        refused(&with_fields(max + 1)),
        http(HttpError::TooManyFields)
    );

    let of_len = |len: usize| {
        let start = "GET /derp/probe HTTP/1.1\r\nHost: a\r\nX: ";
        let end = "\r\n\r\n";
        format!("{start}{}{end}", "y".repeat(len - start.len() - end.len()))
    };
    let max = limits::HTTP_HEAD_BYTES_MAX;
    assert!(answer(&mut server(config()), &of_len(max)).starts_with("HTTP/1.1 200 "));
    assert_eq!(refused(&of_len(max + 1)), http(HttpError::TooLong));
    assert_eq!(refused(&"y".repeat(max + 1)), http(HttpError::TooLong));
}

#[test]
fn connect_is_not_for_us() {
    let request = "CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n";
    let refused = answer(&mut server(config()), request);
    assert!(
        refused.starts_with("HTTP/1.1 403 Forbidden\r\n"),
        "{refused}"
    );
}

#[test]
fn a_page_cannot_be_made_to_say_more_than_its_lines() {
    let mut server = on(operator());
    answer(&mut server, &get("/metrics"));
    let split = Response::empty(200).field("X-Name", "a\r\nSet-Cookie: b".to_owned());
    server.handle_page(split).unwrap();
    assert!(
        !String::from_utf8(output(&mut server))
            .unwrap()
            .contains("Set-Cookie")
    );
}

/// Pages first, DERP on the same connection afterwards.
#[test]
fn an_upgrade_may_follow_a_page() {
    let mut server = server(Config::new(server_key()));
    answer(&mut server, &get("/derp/probe"));
    let (ready, _) = connect(&mut server, &mut client(options())).unwrap();
    assert_eq!(ready.client.addr, conn().peer);
}
