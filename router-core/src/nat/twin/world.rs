//! A NAT with its flow table, driven as the datapath drives them, and the ends of its flows. Called by the twin and by
//! the tests of single rules.

use core::net::Ipv4Addr;

use crate::flow::{FlowMeta, FlowTable, Leg, NewFlow, Opening, SessionRef, Tick, Tuple};
use crate::nat::{Dnat, Mapping, Nat, NatError, PoolId, Snat, Translation};
use crate::packet::Protocol;

pub(in crate::nat) const POOL: PoolId = PoolId(1);

pub(in crate::nat) const META: FlowMeta =
    FlowMeta { session: SessionRef { slot: 0, generation: 0 }, ingress: Leg(0), egress: Leg(1) };

/// A NAT with its flow table.
pub(in crate::nat) struct World {
    pub(in crate::nat) nat: Nat<Ipv4Addr>,
    pub(in crate::nat) flows: FlowTable<Ipv4Addr>,
    pub(in crate::nat) now: Tick,
}

impl World {
    /// An external side of these addresses, and room for so many flows.
    pub(in crate::nat) fn sized(seed: u8, flows_max: u32, addresses: &[Ipv4Addr], mapping: Mapping) -> World {
        let mut nat = Nat::new([seed; 32]);
        nat.set_pool(POOL, addresses, mapping).expect("addresses of one version, fewer than a pool holds");
        World { nat, flows: FlowTable::new(flows_max, &[seed; 16]), now: Tick(1000) }
    }

    pub(in crate::nat) fn open(
        &mut self,
        original: &Tuple<Ipv4Addr>,
    ) -> Result<Translation<Ipv4Addr>, NatError> {
        self.open_with(original, None, Snat::Pool(POOL))
    }

    pub(in crate::nat) fn open_with(
        &mut self,
        original: &Tuple<Ipv4Addr>,
        dnat: Option<&Dnat<Ipv4Addr>>,
        snat: Snat,
    ) -> Result<Translation<Ipv4Addr>, NatError> {
        let translation = self.translate(original, dnat, snat)?;
        let flow =
            NewFlow { original: *original, reply: translation.reply, meta: META, opening: Opening::Datagram };
        let hashes = [self.flows.hash(original), translation.reply_hash];
        self.flows.insert_hashed(self.now, &flow, hashes).expect("translation chose tuples that nobody has");
        Ok(translation)
    }

    pub(in crate::nat) fn translate(
        &mut self,
        original: &Tuple<Ipv4Addr>,
        dnat: Option<&Dnat<Ipv4Addr>>,
        snat: Snat,
    ) -> Result<Translation<Ipv4Addr>, NatError> {
        self.nat.translate(self.now, &self.flows, original, sent_to(original, dnat), snat)
    }

    pub(in crate::nat) fn close(&mut self, translation: &Translation<Ipv4Addr>) {
        let (id, _) = self.flows.lookup(&translation.reply).expect("an open flow is found");
        let removed = self.flows.remove(id).expect("what was found can be removed");
        self.nat.release(self.now, &removed);
    }

    pub(in crate::nat) fn wait_secs(&mut self, secs: u64) {
        self.now = Tick::from_nanos(self.now.as_nanos() + secs * 1_000_000_000);
    }
}

/// Where a flow goes.
pub(in crate::nat) fn sent_to(original: &Tuple<Ipv4Addr>, dnat: Option<&Dnat<Ipv4Addr>>) -> (Ipv4Addr, u16) {
    let (dst, dst_port) = (original.dst, original.dst_port);
    dnat.map_or((dst, dst_port), |dnat| dnat.apply(original.protocol, dst, dst_port))
}

pub(in crate::nat) fn host(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, last)
}

/// One of many hosts.
pub(in crate::nat) fn host_of(number: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(host(0).to_bits() + 0x100 + u32::from(number))
}

pub(in crate::nat) fn far(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 7, last)
}

pub(in crate::nat) fn outside(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, last)
}

pub(in crate::nat) fn udp(src: Ipv4Addr, src_port: u16, dst: Ipv4Addr, dst_port: u16) -> Tuple<Ipv4Addr> {
    Tuple::ports(Protocol::UDP, (src, src_port), (dst, dst_port))
}
