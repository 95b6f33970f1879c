//! Which of several failing checks refuses: the first.

use alloc::vec::Vec;

use super::refusals::{NOW, all};
use super::*;

#[test]
fn of_two_checks_that_fail_the_first_refuses() {
    for one in all() {
        for other in all().into_iter().filter(|other| other.check > one.check) {
            for spoils in [[one.spoil, other.spoil], [other.spoil, one.spoil]] {
                let mut world = World::new();
                spoils.into_iter().for_each(|spoil| spoil(&mut world));
                let refused = world.decide(at(NOW)).unwrap_err();
                assert_eq!(refused.code(), one.code, "beside {}", other.code);
            }
        }
    }
}

#[test]
fn explanations_name_one_failure_of_each_check_that_fails() {
    let all = all();
    let first = |check: u8| all.iter().find(|spoiler| spoiler.check == check).unwrap();
    let mut world = World::new();
    // Without a place nothing is said about routers, without a target nothing about checks 4 to 7.
    for check in [1, 4, 5, 6, 8] {
        (first(check).spoil)(&mut world);
    }
    let codes: Vec<&str> =
        failures(&world.facts(), &world.request, at(NOW)).iter().map(Refused::code).collect();
    let expected = [1, 4, 5, 6, 8].map(|check| first(check).code);
    assert_eq!(codes, expected);
    (first(2).spoil)(&mut world);
    (first(3).spoil)(&mut world);
    let checks: Vec<u8> =
        failures(&world.facts(), &world.request, at(NOW)).iter().map(Refused::check).collect();
    assert_eq!(checks, [1, 2, 3]);
}
