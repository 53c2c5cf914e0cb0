//! `admin heal`: how redundancy comes back.

use client::health::storm;
use proto::cluster::ClusterStatus;
use proto::disks::{DiskHealing, HealLimit};
use proto::map::Role;
use serde_json::{Value, json};
use types::{DiskId, NodeId};

use crate::exit::{self, Exit};
use crate::output::{Outcome, Table, size};
use crate::session::Session;

/// What a node says; an error in its own words when it does not answer.
type Said = (NodeId, Result<Vec<(DiskId, DiskHealing)>, String>);

/// Asks all nodes with disks that are up.
pub async fn status(session: &Session, status: &ClusterStatus) -> exit::Result<Outcome> {
    let nodes = status.map.nodes.iter().filter(|(_, node)| node.roles.contains(&Role::Block) && node.up);
    let asked = nodes.map(|(id, _)| async move {
        let healing = session.cluster.fetch_healing(*id).await;
        (*id, healing.map(|healing| healing.disks.into_iter().collect()).map_err(|e| e.to_string()))
    });
    let said = futures::future::join_all(asked).await;
    Ok(describe(&said, storm(&status.map).as_deref()))
}

/// What holds repair up, in words.
fn word(limit: HealLimit) -> &'static str {
    match limit {
        HealLimit::Nothing => "-",
        HealLimit::Index => "the index",
        HealLimit::Users => "users come first",
        HealLimit::Sources => "reading other disks",
        HealLimit::Write => "writing this disk",
        HealLimit::Missing => "disks that are away",
    }
}

fn left(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}

fn describe(said: &[Said], storm: Option<&str>) -> Outcome {
    let mut table = Table::new(&[
        "disk", "node", ">slots", ">done", ">aside", ">made", ">bytes", ">rate", "limit", "left",
    ]);
    let (mut values, mut complaints) = (Vec::new(), Vec::new());
    let (mut slots, mut aside) = (0, 0);
    complaints.extend(storm.map(str::to_owned));
    for (node, healing) in said {
        let disks = match healing {
            Ok(disks) => disks,
            Err(e) => {
                complaints.push(format!("node {node} does not say how far it is: {e}"));
                continue;
            }
        };
        for (disk, healing) in disks {
            slots += healing.slots;
            aside += healing.aside;
            table.row(row(*disk, *node, healing));
            values.push(value(*disk, *node, healing));
        }
    }
    if aside > 0 {
        complaints
            .push(format!("{aside} parts cannot be made at the moment: bring back the disks that are away"));
    }
    let is_whole = slots == 0 && complaints.is_empty();
    let text = match (values.is_empty(), is_whole) {
        (true, true) => "nothing to repair, and nothing was since the nodes started".to_owned(),
        (true, false) => String::new(),
        (false, true) => format!("{}nothing to repair", table.render()),
        (false, false) => table.render(),
    };
    let exit = if is_whole { Exit::Ok } else { Exit::Degraded };
    let json = json!({ "disks": values, "slots": slots, "aside": aside, "storm": storm });
    Outcome { text, json, complaints, exit }
}

fn row(disk: DiskId, node: NodeId, healing: &DiskHealing) -> [String; 10] {
    [
        disk.to_string(),
        node.to_string(),
        healing.slots.to_string(),
        format!("{:.1} %", f64::from(healing.per_mille) / 10.0),
        healing.aside.to_string(),
        healing.made.to_string(),
        size(healing.bytes),
        format!("{}/s", size(healing.bytes_per_second)),
        word(healing.limit).to_owned(),
        healing.seconds_left.map_or("-".to_owned(), left),
    ]
}

fn value(disk: DiskId, node: NodeId, healing: &DiskHealing) -> Value {
    json!({
        "disk": disk.0,
        "node": node.0,
        "slots": healing.slots,
        "done": f64::from(healing.per_mille) / 1000.0,
        "aside": healing.aside,
        "made": healing.made,
        "bytes": healing.bytes,
        "bytes_per_second": healing.bytes_per_second,
        "limit": word(healing.limit),
        "seconds_left": healing.seconds_left,
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn healing(slots: u32, aside: u64, limit: HealLimit) -> DiskHealing {
        DiskHealing {
            slots,
            per_mille: 250,
            aside,
            made: 30,
            bytes: 5_000_000,
            bytes_per_second: 2_000_000,
            seconds_left: (slots > 0).then_some(90),
            limit,
        }
    }

    #[track_caller]
    fn check(said: &[Said], storm: Option<&str>, exit: Exit, want: Expect) {
        let outcome = describe(said, storm);
        let complaints: String = outcome.complaints.iter().map(|line| format!("! {line}\n")).collect();
        assert_eq!(outcome.exit, exit);
        want.assert_eq(&format!("{}\n{complaints}", outcome.text.trim_end()));
    }

    #[test]
    fn it_says_how_far_it_is_and_what_for() {
        check(
            &[(NodeId(1), Ok(vec![]))],
            None,
            Exit::Ok,
            expect![[r#"
            nothing to repair, and nothing was since the nodes started
        "#]],
        );
        let busy = healing(12, 0, HealLimit::Users);
        let stuck = healing(2, 7, HealLimit::Missing);
        let done = healing(0, 0, HealLimit::Nothing);
        let said = [
            (NodeId(1), Ok(vec![(DiskId(1), busy), (DiskId(2), stuck)])),
            (NodeId(2), Ok(vec![(DiskId(3), done)])),
            (NodeId(3), Err("unavailable: no answer".to_owned())),
        ];
        check(
            &said,
            Some("repair waits: 3 disks in 3 nodes are away at once"),
            Exit::Degraded,
            expect![[r#"
            disk  node  slots    done  aside  made   bytes      rate  limit                left
            1     1        12  25.0 %      0    30  5.0 MB  2.0 MB/s  users come first     2 min
            2     1         2  25.0 %      7    30  5.0 MB  2.0 MB/s  disks that are away  2 min
            3     2         0  25.0 %      0    30  5.0 MB  2.0 MB/s  -                    -
            ! repair waits: 3 disks in 3 nodes are away at once
            ! node 3 does not say how far it is: unavailable: no answer
            ! 7 parts cannot be made at the moment: bring back the disks that are away
        "#]],
        );
        check(
            &said[1..2],
            None,
            Exit::Ok,
            expect![[r#"
            disk  node  slots    done  aside  made   bytes      rate  limit  left
            3     2         0  25.0 %      0    30  5.0 MB  2.0 MB/s  -      -
            nothing to repair
        "#]],
        );
    }

    #[test]
    fn times_are_short() {
        let times = [0, 59, 60, 61, 7199, 7200, 86_400].map(left);
        assert_eq!(times, ["0 s", "59 s", "1 min", "2 min", "120 min", "2 h", "24 h"]);
    }
}
