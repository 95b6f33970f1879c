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
