//! Two plain interfaces in the simulator: what one sends, the other gets, whatever the network does.

use router_core::sim::Sim;

#[test]
fn what_one_host_sends_the_other_gets_and_answers() {
    let mut pair = Sim::pair().start();
    pair.sim.host_mut(pair.bob_host).udp_echo.insert(7);
    for to in ["10.0.0.2:7", "[fd00::2]:7"] {
        pair.sim.send_udp(pair.alice_host, 5000, to.parse().unwrap(), b"hello");
    }
    pair.sim.run_secs(1);
    let echoed = pair.sim.host(pair.alice_host).datagrams(5000);
    assert_eq!(echoed.iter().map(|(_, payload)| &payload[..]).collect::<Vec<_>>(), [b"hello", b"hello"]);
}
