//! Capabilities of this thread, and of those it starts. Read first: capabilities(7). Called by confine.

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};

/// Keeps what is needed of what there is, and no way to get more; says what that is.
pub(super) fn keep(has_tun: bool, has_low_port: bool) -> Result<String, CapsError> {
    let needed = [(has_tun, Capability::CAP_NET_ADMIN), (has_low_port, Capability::CAP_NET_BIND_SERVICE)];
    let needed: CapsHashSet =
        needed.into_iter().filter(|(needed, _)| *needed).map(|(_, which)| which).collect();
    let there = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = there.intersection(&needed).copied().collect();
    // What could come back with another program: none is ever started, so this is for good measure, where it is allowed.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for which in caps::read(None, CapSet::Bounding)?.difference(&kept) {
            caps::drop(None, CapSet::Bounding, *which)?;
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new())?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    rustix::thread::set_no_new_privs(true).map_err(|error| CapsError::from(error.to_string()))?;
    let mut names: Vec<_> = kept.iter().map(ToString::to_string).collect();
    names.sort();
    Ok(if names.is_empty() { "none".to_owned() } else { names.join(" ") })
}
