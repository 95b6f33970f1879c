use proptest::prelude::*;

use super::*;

fn operation() -> impl Strategy<Value = Operation> {
    let port = prop_oneof![Just(0_u16), Just(1), Just(1023), Just(1024), 1..20_u16, 5000..5003_u16];
    prop_oneof![
        6 => (0..6_u16, port, 0..3_u8, prop::bool::weighted(0.2))
            .prop_map(|(host, port, far, echo)| Operation::Open { host, port, far, echo }),
        1 => (900..FILL_HOSTS_MAX, 0..3_u8).prop_map(|(hosts, far)| Operation::Fill { hosts, far }),
        3 => any::<prop::sample::Index>().prop_map(|flow| Operation::Close { flow: flow.index(4096) }),
        1 => (100..1200_usize).prop_map(|flows| Operation::CloseMany { flows }),
        2 => prop_oneof![0..30_u64, 100..130_u64].prop_map(|secs| Operation::Wait { secs }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn p07_p08_per_destination_tuples_are_unique_and_answers_reach_who_asked(
        operations in prop::collection::vec(operation(), 1..40)
    ) {
        run(Mapping::PerDestination, &operations);
    }

    #[test]
    fn p07_p08_endpoint_independent_tuples_are_unique_and_answers_reach_who_asked(
        operations in prop::collection::vec(operation(), 1..40)
    ) {
        run(Mapping::EndpointIndependent, &operations);
    }
}

/// All that the twin can tell of must happen, or it compares nothing.
#[test]
fn p07_p08_runs_that_fill_a_class_share_ports_and_are_refused() {
    let fill = |far| Operation::Fill { hosts: FILL_HOSTS_MAX, far };
    let open = |far| Operation::Open { host: 0, port: 5000, far, echo: false };
    let operations = [
        fill(0),
        fill(1),
        open(0),
        open(1),
        Operation::CloseMany { flows: 10 },
        Operation::Wait { secs: 600 },
    ];
    let many = u32::from(FILL_HOSTS_MAX);

    let shared = run(Mapping::PerDestination, &operations);
    assert!(shared.shared > many / 2 && shared.refused > 0 && shared.kept >= 2, "{shared:?}");
    assert_eq!((shared.closed, shared.let_go, shared.mapped), (10, 10, 0));

    let mapped = run(Mapping::EndpointIndependent, &operations);
    assert!(mapped.mapped > many / 2 && mapped.refused > 0, "{mapped:?}");
    assert_eq!((mapped.closed, mapped.shared), (10, 0));
}
