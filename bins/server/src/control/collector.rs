//! How many routers and connectors there are, as metrics. What each of them does it tells itself.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Control;
use crate::store::objects::Kind;

/// Looks at each scrape.
pub(crate) struct Agents(Control);

impl Control {
    /// How many agents there are, and how many of them are connected.
    pub(crate) fn collector(&self) -> Agents {
        Agents(self.clone())
    }
}

impl fmt::Debug for Agents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agents").finish_non_exhaustive()
    }
}

impl Collector for Agents {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut counts = [[0_i64; 2]; 2];
        for seat in self.0.all_seats() {
            let up = seat.leadership.ask(|leader, _| leader.is_up());
            counts[usize::from(seat.kind == Kind::Connector)][usize::from(up)] += 1;
        }
        let mut family = encoder.encode_descriptor(
            "agents",
            "Routers and connectors that have enrolled, by whether they are connected",
            None,
            MetricType::Gauge,
        )?;
        for (kind, counts) in ["router", "connector"].into_iter().zip(counts) {
            for (state, count) in ["away", "connected"].into_iter().zip(counts) {
                let labels = [("kind", kind), ("state", state)];
                ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
