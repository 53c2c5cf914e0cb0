//! Plans keep their budget, and draw all there is.

use std::collections::{BTreeMap, BTreeSet};

use types::limits::CLOCK_SKEW_MAX;

use super::*;

#[test]
fn a_seed_has_one_plan_and_seeds_differ() {
    let options = Options::default();
    assert_eq!(Plan::draw(7, &options), Plan::draw(7, &options));
    assert_ne!(Plan::draw(7, &options).strikes, Plan::draw(8, &options).strikes);
}

#[test]
fn plans_stay_within_the_budget() {
    for seed in 0..300 {
        let plan = Plan::draw(seed, &Options::default());
        let is_voter = |node: &NodeId| node.0 <= plan.shape.meta;
        let mut harms = 0;
        let (mut damaged, mut skews) = (BTreeSet::new(), BTreeMap::from([(NodeId(1), 0)]));
        for strike in &plan.strikes {
            match &strike.fault {
                Fault::Crash(nodes) | Fault::Split(nodes) => {
                    let voters = nodes.iter().filter(|node| is_voter(node)).count();
                    let most = if matches!(strike.fault, Fault::Split(_)) { 1 } else { 2 };
                    assert!(nodes.len() <= 2 && voters <= most, "{strike}");
                    assert!(nodes.len() < 2 || nodes[0] != nodes[1], "{strike}");
                }
                Fault::CutOneWay(from, to) => assert_ne!(from, to),
                Fault::ClockJump(node, ms) => *skews.entry(*node).or_insert(0) += ms,
                Fault::WriteError(node)
                | Fault::ShortWrite(node)
                | Fault::BitRot(node, _)
                | Fault::Misdirect(node, _)
                | Fault::LostSegments(node, _)
                | Fault::StoreErrors(node, _) => {
                    assert!(!is_voter(node), "{strike}");
                    damaged.insert(*node);
                }
                Fault::Metadata(nodes, harm) => {
                    assert!(nodes.iter().all(is_voter), "{strike}");
                    assert!(nodes.len() == 1 || (nodes.len() == 2 && harm.is_of_states()), "{strike}");
                    assert!(nodes.len() == 1 || nodes[0] != nodes[1], "{strike}");
                    harms += 1;
                    damaged.extend(nodes.iter().filter(|_| *harm == Harm::NodeSetBack));
                }
                Fault::MetadataBehind(node, behind, harm) => {
                    assert!(node != behind && [node, behind].iter().all(|node| node.0 <= 3), "{strike}");
                    assert!(matches!(harm, Harm::Lost | Harm::LogLost | Harm::SetBack), "{strike}");
                    harms += 1;
                }
                _ => {}
            }
        }
        damaged.extend(plan.gone());
        let voters_gone = plan.gone().into_iter().filter(is_voter).count();
        assert!(harms + voters_gone <= 1, "seed {seed}: what two voters had");
        assert!(damaged.len() <= 2, "seed {seed}");
        let (least, most) = (skews.values().min().unwrap(), skews.values().max().unwrap());
        assert!(most - least <= CLOCK_SKEW_MAX.as_millis() as i64, "seed {seed}: {skews:?}");
        let end = |strike: &Strike| strike.at_ms + strike.fault.lead_ms() + strike.for_ms;
        let ends = plan.strikes.windows(2).all(|two| end(&two[0]) < two[1].at_ms);
        assert!(ends, "seed {seed}: two faults at once");
    }
}

#[test]
fn what_is_gone_for_good_comes_last_and_leaves_enough() {
    for (kind, count) in [(FaultKind::Voter, 1), (FaultKind::Loss, 2)] {
        let kinds = FaultKind::ALL.into_iter().filter(|other| !other.is_for_good()).chain([kind]).collect();
        let options = Options { kinds, ..Options::default() };
        let plans = (0..100).map(|seed| Plan::draw(seed, &options));
        let plans = Vec::from_iter(plans.filter(|plan| !plan.gone().is_empty()));
        assert!((5..60).contains(&plans.len()), "{} of 100 seeds lose nodes", plans.len());
        for plan in plans {
            let (last, before) = plan.strikes.split_last().unwrap();
            assert!(last.at_ms >= 60_000 && last.fault.gone().len() == count, "{last}");
            assert!(before.iter().all(|strike| strike.fault.gone().is_empty()), "{}", plan.seed);
        }
    }
}

#[test]
fn every_kind_is_drawn_and_can_be_left_out() {
    let word = |what: &dyn std::fmt::Debug| {
        format!("{what:?}").chars().take_while(char::is_ascii_alphabetic).collect::<String>()
    };
    let kinds: BTreeSet<String> = (0..100)
        .flat_map(|seed| Plan::draw(seed, &Options::default()).strikes)
        .flat_map(|strike| match strike.fault {
            Fault::Metadata(_, harm) | Fault::MetadataBehind(_, _, harm) => {
                vec![word(&strike.fault), word(&harm)]
            }
            fault => vec![word(&fault)],
        })
        .collect();
    assert_eq!(kinds.len(), 30 + 7, "{kinds:?}");
    let only = Options { kinds: vec![FaultKind::Pause], ..Options::default() };
    for strike in (0..20).flat_map(|seed| Plan::draw(seed, &only).strikes) {
        let is_pause = matches!(strike.fault, Fault::Pause(_) | Fault::Suspend(_) | Fault::SuspendLeader(_));
        assert!(is_pause, "{strike}");
    }
    let all = Plan::draw(3, &Options::default());
    let fewer = Plan::draw(3, &Options { without: vec![0], ..Options::default() });
    assert_eq!(fewer.strikes, all.strikes[1..]);
    assert_eq!(FaultKind::parse("diskrot"), Some(FaultKind::DiskRot));
    assert_eq!(FaultKind::parse("x"), None);
}
