//! `towline wg`: a WireGuard interface that `wg` and `wg-quick` configure.

mod daemon;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use towline_device::{
    CONTROL_DIRECTORY, ControlSocket, Device, DeviceConfig, Ended, EngineKind, IoChoice,
    MTU_DEFAULT, MTU_MAX, TunOffload, UdpOffload,
};
use towline_relay::config::{LogConfig, LogFormat};

use crate::failure::Failure;
use crate::logging;

/// Name of the command.
pub(crate) const NAME: &str = "wg";

/// How long a worker may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Called by this name the program is `towline wg` and takes the interface's name: wg-quick quotes what it starts as one
/// word.
pub(crate) const LINK_NAME: &str = "towline-wg";

pub(crate) const AFTER_HELP: &str = "\
The interface is configured by the ordinary tools, through /var/run/wireguard/IFACE.sock:
      towline wg wg0
      wg set wg0 private-key wg0.key listen-port 51820
      wg set wg0 peer PUBLIC-KEY endpoint 192.0.2.1:51820 allowed-ips 10.0.0.2/32
      ip address add 10.0.0.1/24 dev wg0 && ip link set wg0 up

With wg-quick, where a link called towline-wg to this program is on the PATH:
      WG_QUICK_USERSPACE_IMPLEMENTATION=towline-wg wg-quick up wg0
(wg-quick takes it only when the kernel has no WireGuard of its own.)

It ends when the interface is deleted (ip link del wg0) or on SIGTERM, and then the interface and
the control socket are gone. Logs go to stderr; without --foreground nobody hears them once it runs,
so under systemd use --foreground.";

/// Which interface, and by which means.
#[derive(Args, Debug)]
pub(crate) struct WgArgs {
    /// Name of the interface to make, at most 15 bytes; `wg%d` takes the first free number
    #[arg(value_name = "IFACE", value_parser = interface_name)]
    interface: String,
    /// Stay in the foreground and log to stderr
    #[arg(long, short)]
    foreground: bool,
    /// Bytes of the longest packet; wg-quick and `ip link` may change it later
    #[arg(long, value_name = "BYTES", default_value_t = MTU_DEFAULT, value_parser = clap::value_parser!(u32).range(576..=MTU_MAX))]
    mtu: u32,
    /// Driver that moves packets: auto takes io_uring and falls back to epoll with a warning that says why; uring makes that an error
    #[arg(long, value_enum, default_value_t)]
    io: Io,
    /// What the TUN device may hand over in one piece: all, none, or some of checksum, tso (TCP), uso (UDP)
    #[arg(long, value_name = "LIST", default_value = "all", value_parser = tun_offload)]
    tun_offload: TunOffload,
    /// What the UDP sockets may: all, none, or some of gso (sends), gro (receives)
    #[arg(long, value_name = "LIST", default_value = "all", value_parser = udp_offload)]
    udp_offload: UdpOffload,
    /// Who speaks WireGuard: towline's own engine, or boringtun's (slower; to compare with)
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,
    /// Least level of the lines that are logged: error, warn, info, debug, trace or off
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Io {
    #[default]
    Auto,
    Uring,
    Epoll,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Engine {
    #[default]
    Native,
    Boringtun,
}

/// Runs the device, here or in a process of its own.
pub(crate) fn run(args: &WgArgs) -> Result<(), Failure> {
    if !args.foreground && !daemon::is_daemon() {
        return daemon::start(&args.interface);
    }
    // What stays in the background says on the terminal only what is wrong.
    let level = if args.foreground { "info" } else { "warn" };
    let log = LogConfig {
        level: args.log_level.clone().unwrap_or_else(|| level.to_owned()),
        ..LogConfig::default()
    };
    logging::start(
        LogFormat::Text,
        logging::filter_of_process(&log, args.log_level.is_some())?,
    );
    serve(args).map_err(Failure::Failed)
}

fn serve(args: &WgArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (ended, mut ending) = tokio::sync::mpsc::unbounded_channel();
        let config = DeviceConfig {
            mtu: args.mtu,
            io: args.io.into(),
            tun_offload: args.tun_offload,
            udp_offload: args.udp_offload,
            engine: args.engine.into(),
            ..DeviceConfig::new(&args.interface)
        };
        let device = Device::start(config, move |how| _ = ended.send(how))?;
        let socket = ControlSocket::open(Path::new(CONTROL_DIRECTORY), device.name())?;
        let control = socket.serve(Arc::clone(&device))?;
        daemon::ready(device.name())?;
        let mut how = tokio::select! {
            how = ending.recv() => how,
            _ = terminate.recv() => None,
            _ = interrupt.recv() => None,
        };
        if how.is_none() {
            device.stop();
            // A second signal means now.
            how = tokio::select! {
                how = ending.recv() => how,
                () = tokio::time::sleep(STOP_TIMEOUT) => None,
                _ = terminate.recv() => None,
                _ = interrupt.recv() => None,
            };
        }
        drop(control);
        match how {
            Some(Ok(Ended::Deleted)) => {
                tracing::info!(interface = device.name(), "the interface was deleted")
            }
            Some(Ok(Ended::Stopped)) => tracing::info!(interface = device.name(), "stopped"),
            Some(Err(error)) => return Err(anyhow::Error::new(error).context("the worker failed")),
            None => anyhow::bail!("the worker did not end"),
        }
        Ok(())
    })
}

impl From<Io> for IoChoice {
    fn from(io: Io) -> Self {
        match io {
            Io::Auto => Self::Auto,
            Io::Uring => Self::Uring,
            Io::Epoll => Self::Epoll,
        }
    }
}

impl From<Engine> for EngineKind {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Native => Self::Native,
            Engine::Boringtun => Self::Boringtun,
        }
    }
}

/// What Linux takes as a name (dev_valid_name), and what names a file next to others.
fn interface_name(name: &str) -> Result<String, String> {
    let printable = name.bytes().all(|byte| byte.is_ascii_graphic());
    if name.is_empty()
        || name.len() > 15
        || !printable
        || name.contains(['/', ':'])
        || matches!(name, "." | ".." | "all" | "default")
    {
        return Err(
            "an interface's name has 1 to 15 bytes and neither spaces nor slashes nor colons"
                .to_owned(),
        );
    }
    Ok(name.to_owned())
}

fn tun_offload(list: &str) -> Result<TunOffload, String> {
    let [checksum, tso, uso] = words(list, ["checksum", "tso", "uso"])?;
    if (tso || uso) && !checksum {
        return Err("tso and uso need checksum".to_owned());
    }
    Ok(TunOffload { checksum, tso, uso })
}

fn udp_offload(list: &str) -> Result<UdpOffload, String> {
    let [gso, gro] = words(list, ["gso", "gro"])?;
    Ok(UdpOffload { gso, gro })
}

/// Which of the known words stand in a list.
fn words<const N: usize>(list: &str, known: [&str; N]) -> Result<[bool; N], String> {
    match list {
        "all" => return Ok([true; N]),
        "none" => return Ok([false; N]),
        _ => {}
    }
    let mut found = [false; N];
    for word in list.split(',').map(str::trim) {
        let Some(index) = known.iter().position(|known| *known == word) else {
            return Err(format!(
                "{word:?} is none of all, none, {}",
                known.join(", ")
            ));
        };
        found[index] = true;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offloads_are_lists_of_words() {
        assert_eq!(words("all", ["a", "b"]), Ok([true, true]));
        assert_eq!(words("none", ["a", "b"]), Ok([false, false]));
        assert_eq!(words("b", ["a", "b"]), Ok([false, true]));
        assert_eq!(
            words("c", ["a", "b"]).unwrap_err(),
            "\"c\" is none of all, none, a, b"
        );
        assert!(tun_offload("tso").is_err());
    }

    #[test]
    fn names_that_are_no_interface_are_refused() {
        for name in ["", ".", "..", "a b", "a/b", "sixteen-bytes-xx", "a:b"] {
            assert!(interface_name(name).is_err(), "{name}");
        }
        assert!(interface_name("wg%d").is_ok());
    }
}
