//! Making a ring with what the kernel has of the wanted features.

use io_uring::register::Probe;
use io_uring::{IoUring, opcode};

use crate::error::HostFacts;
use crate::{DriverError, Features};

/// The newest setup flags first: a kernel that refuses a set is asked for the same without the
/// newest.
pub(crate) fn set_up(
    sq: u32,
    cq: u32,
    wanted: Features,
    host: &HostFacts,
) -> Result<(IoUring, Features), DriverError> {
    let newest_first = [
        Features::NO_SQARRAY,
        Features::DEFER_TASKRUN,
        Features::SINGLE_ISSUER,
        Features::COOP_TASKRUN,
    ];
    let mut flags = newest_first.iter().fold(Features::none(), |set, flag| {
        set.with(wanted.intersection(*flag))
    });
    let mut refused = newest_first.iter();
    loop {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(cq).setup_clamp().setup_r_disabled();
        if flags.contains(Features::NO_SQARRAY) {
            builder.setup_no_sqarray();
        }
        if flags.contains(Features::DEFER_TASKRUN) {
            builder.setup_defer_taskrun();
        }
        if flags.contains(Features::SINGLE_ISSUER) {
            builder.setup_single_issuer();
        }
        if flags.contains(Features::COOP_TASKRUN) {
            builder.setup_coop_taskrun();
        }
        match builder.build(sq) {
            Ok(ring) => return Ok((ring, flags)),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                let Some(flag) = refused.find(|flag| flags.contains(**flag)) else {
                    return Err(DriverError::setup(error, host));
                };
                flags = flags.without(*flag);
            }
            Err(error) => return Err(DriverError::setup(error, host)),
        }
    }
}

pub(crate) fn check_base(ring: &IoUring, host: &HostFacts) -> Result<(), DriverError> {
    let params = ring.params();
    let missing = if !params.is_feature_ext_arg() {
        "IORING_FEAT_EXT_ARG"
    } else if !params.is_feature_nodrop() {
        "IORING_FEAT_NODROP"
    } else if !params.is_feature_fast_poll() {
        "IORING_FEAT_FAST_POLL"
    } else {
        return Ok(());
    };
    Err(DriverError::KernelTooOld {
        release: host.release.clone(),
        missing,
    })
}

/// Features that setup flags do not decide.
pub(crate) fn probe_features(ring: &IoUring) -> Result<Features, DriverError> {
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|error| DriverError::os("io_uring_register(PROBE)", error))?;
    let mut found = Features::none();
    if ring.params().is_feature_no_iowait() {
        found = found.with(Features::NO_IOWAIT);
    }
    // Multishot receive came with Linux 6.0, as zero-copy send did; only the latter is an
    // opcode to probe for.
    if probe.is_supported(opcode::SendZc::CODE) {
        found = found.with(Features::MULTISHOT_RECV);
    }
    if probe.is_supported(opcode::ReadMulti::CODE) {
        found = found.with(Features::MULTISHOT_READ);
    }
    // Of these the registration itself tells.
    found = found
        .with(Features::BUFFER_RING)
        .with(Features::INCREMENTAL);
    Ok(found)
}
