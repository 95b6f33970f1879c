//! Two stacks, what one sends handed to the other.

mod hostile;
mod simulation;
mod tcp;

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::*;

const MTU_BYTES: u16 = 1420;
const MIB: usize = 1024 * 1024;
/// Nothing here takes this long.
const LIMIT: Duration = Duration::from_secs(20);

/// The two ends of a cable, which is taken away when it is dropped.
pub(crate) struct Cable {
    pub(crate) near: Stack,
    pub(crate) far: Stack,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Cable {
    pub(crate) fn new() -> Cable {
        Cable::with(|_| {})
    }

    /// `change` sees both configurations before they are used.
    pub(crate) fn with(change: impl Fn(&mut StackConfig)) -> Cable {
        let stack = |number: u8| {
            let mut config = StackConfig {
                addresses: addresses(number),
                mtu_bytes: MTU_BYTES,
                buffer_bytes_max: 64 * MIB,
                flows_max: 10_000,
                seed: [number; 32],
                workers: 1,
            };
            change(&mut config);
            Stack::new(config, &tokio::runtime::Handle::current())
        };
        let (near, far) = (stack(1), stack(2));
        let carry = |from: &Stack, to: &Stack| tokio::spawn(carry(from.clone(), to.clone()));
        let tasks = vec![carry(&near, &far), carry(&far, &near)];
        Cable { near, far, tasks }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

async fn carry(from: Stack, to: Stack) {
    let rung = Arc::new(Notify::new());
    let bell = Arc::clone(&rung);
    from.door(0).set_bell(Box::new(move || bell.notify_one()));
    let mut room = vec![0; 65_535];
    loop {
        while let Some((len, header)) = from.door(0).read(&mut room) {
            to.receive(0, header, &[IoSlice::new(&room[..len])]);
            tokio::task::yield_now().await;
        }
        from.door(0).end_turn();
        // What the other direction made answers to packets is behind the door without a ring.
        let _ = tokio::time::timeout(Duration::from_micros(200), rung.notified()).await;
    }
}

#[test]
fn a_flow_takes_no_more_than_the_formula_says() {
    let place = size_of::<Key>() + size_of::<Flow>();
    let timer = 64;
    // Tables and trees are up to twice as large as what they hold.
    assert!(TcpFlow::BYTES + 2 * (place + timer) < FLOW_BYTES, "{} {place}", TcpFlow::BYTES);
}

fn addresses(number: u8) -> Vec<IpAddr> {
    vec![format!("10.0.0.{number}").parse().unwrap(), format!("fd00::{number}").parse().unwrap()]
}

/// The far stack's addresses, of both versions.
pub(crate) fn far(port: u16) -> [SocketAddr; 2] {
    [SocketAddr::new(addresses(2)[0], port), SocketAddr::new(addresses(2)[1], port)]
}

/// The near stack's address of the same version.
pub(crate) fn near(like: SocketAddr) -> IpAddr {
    addresses(1)[usize::from(like.is_ipv6())]
}

/// The outcome, unless it takes too long.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("too slow")
}

/// All flows to addresses that are none of the stack's.
fn arrivals(stack: &Stack) -> mpsc::UnboundedReceiver<Arrival> {
    let (sender, arrivals) = mpsc::unbounded_channel();
    stack.set_foreign(Box::new(move |arrival| drop(sender.send(arrival)))).unwrap();
    arrivals
}

/// Waits until it holds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !holds() {
        assert!(start.elapsed() < LIMIT, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
