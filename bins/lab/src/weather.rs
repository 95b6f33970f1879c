//! Bad weather: packets that get lost on their way to a host.

use anyhow::Result;

use crate::host::Host;

impl Host {
    /// From now on this share of the packets that arrive on `interface` is lost, each by chance; 0 ends it. One interface of a
    /// host at a time. The kernel's packet filter does it: not every kernel has netem.
    pub fn lose(&self, interface: &str, percent: u32) -> Result<()> {
        let mut script = "add table inet weather\n\
             add chain inet weather in { type filter hook input priority 0; policy accept; }\n\
             flush chain inet weather in\n"
            .to_owned();
        if percent > 0 {
            script.push_str(&format!(
                "add rule inet weather in iifname {interface} numgen random mod 100 < {percent} drop\n"
            ));
        }
        self.exec_with_input(&["nft", "-f", "-"], script.as_bytes())?.ok().map(drop)
    }
}
