//! Clients of the crate `ts_derp` on one relay: two that talk to each other, two with the same key, and
//! an echo that the caller talks to. Called by the Go test in `../rust`, with the relay's address in
//! `RELAY_ADDR`. Ends with an error at the first thing that goes wrong, such as a frame that this client
//! does not know: it takes nothing but packets, keepalives, pings and peer-gone.

#![forbid(unsafe_code)]

use std::{net::SocketAddrV4, time::Duration};

use anyhow::{Context, ensure};
use tokio::{io::AsyncReadExt, time::timeout};
use ts_derp::{DefaultClient, IpUsage, ServerConnInfo, TlsValidationConfig};
use ts_keys::{NodeKeyPair, NodePublicKey};

const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// This client refuses frames above 64 KiB, the sender's key included; the protocol does not.
const PACKET_BYTES_MAX: usize = 65536 - 32;
const PACKET_BYTES: [usize; 10] = [0, 1, 32, 1400, 2048, 9000, 16384, 32768, 65000, PACKET_BYTES_MAX];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address: SocketAddrV4 = std::env::var("RELAY_ADDR").context("RELAY_ADDR")?.parse()?;
    let relay = ServerConnInfo {
        hostname: address.ip().to_string(),
        ipv4: IpUsage::FixedAddr(*address.ip()),
        ipv6: IpUsage::Disable,
        tls_validation_config: TlsValidationConfig::InsecureForTests,
        https_port: address.port(),
        stun_port: None,
        stun_only: false,
        supports_port_80: false,
    };
    pair(&relay).await.context("a pair of clients")?;
    duplicates(&relay).await.context("two clients with one key")?;
    echo(&relay).await.context("echo")
}

async fn connect(relay: &ServerConnInfo, keys: &NodeKeyPair) -> anyhow::Result<DefaultClient> {
    Ok(timeout(REPLY_TIMEOUT, DefaultClient::connect([relay], keys)).await??)
}

async fn pair(relay: &ServerConnInfo) -> anyhow::Result<()> {
    let (a_keys, b_keys) = (NodeKeyPair::random(), NodeKeyPair::random());
    let (a, b) = (connect(relay, &a_keys).await?, connect(relay, &b_keys).await?);
    for bytes in PACKET_BYTES {
        let packet: Vec<u8> = (0..bytes).map(|i| i as u8).collect();
        a.send_one(b_keys.public, &packet).await?;
        want(&b, a_keys.public, &packet).await?;
        b.send_one(a_keys.public, &packet).await?;
        want(&a, b_keys.public, &packet).await?;
    }
    for number in 0..2000_u32 {
        a.send_one(b_keys.public, &number.to_be_bytes()).await?;
        want(&b, a_keys.public, &number.to_be_bytes()).await?;
    }
    Ok(())
}

/// Two connections that write in turn fight for the key; neither may be told so, since this client
/// takes a health frame for an error.
async fn duplicates(relay: &ServerConnInfo) -> anyhow::Result<()> {
    let (shared, peer_keys) = (NodeKeyPair::random(), NodeKeyPair::random());
    let peer = connect(relay, &peer_keys).await?;
    let first = connect(relay, &shared).await?;
    let second = connect(relay, &shared).await?;
    for _ in 0..50 {
        for writer in [&first, &second] {
            writer.send_one(peer_keys.public, b"it is me").await?;
            want(&peer, shared.public, b"it is me").await?;
            peer.send_one(shared.public, b"is it?").await?;
            want(writer, peer_keys.public, b"is it?").await?;
        }
    }
    Ok(())
}

/// Sends everything back until standard input ends.
async fn echo(relay: &ServerConnInfo) -> anyhow::Result<()> {
    let keys = NodeKeyPair::random();
    let client = connect(relay, &keys).await?;
    println!("echo {}", keys.public);
    let (mut input, mut line) = (tokio::io::stdin(), [0; 16]);
    loop {
        tokio::select! {
            received = client.recv_one() => {
                let (from, packet) = received?;
                client.send_one(from, packet.as_ref()).await?;
            }
            read = input.read(&mut line) => if read? == 0 { return Ok(()) },
        }
    }
}

async fn want(client: &DefaultClient, from: NodePublicKey, packet: &[u8]) -> anyhow::Result<()> {
    let (got_from, got) = timeout(REPLY_TIMEOUT, client.recv_one()).await.context("no packet came")??;
    ensure!(got_from == from && got.as_ref() == packet, "got {} bytes, want {}", got.as_ref().len(), packet.len());
    Ok(())
}
