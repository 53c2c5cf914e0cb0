//! The numbers of disks, and of chunks that are not whole.

use std::collections::BTreeMap;

use proto::cluster::{DiskErrors, DiskReport};
use proto::disks::{DiskHealing, ScrubStatus};
use proto::index::IndexStats;
use proto::map::DiskState;

use types::{DiskId, PartitionId};

use super::text::Metrics;

/// Adds the numbers of disks, and how many directories are none.
pub fn add(text: &mut Metrics, disks: &BTreeMap<DiskId, DiskReport>, problem_count: usize) {
    text.family("disk_state", "gauge", "1 for the state that a disk is in");
    for (id, report) in disks {
        for state in DiskState::ALL {
            let labels = format!("disk=\"{id}\",state=\"{}\"", state.name());
            text.add(&labels, (report.state == state).into());
        }
    }
    let numbers: [Number<DiskReport>; 6] = [
        ("used_bytes", "gauge", "Payload bytes of shards and replicas on a disk", |disk| disk.used_bytes),
        ("free_bytes", "gauge", "Bytes that the file system of a disk can still take", |disk| {
            disk.free_bytes
        }),
        ("records", "gauge", "Shards and replicas on a disk", |disk| disk.records),
        ("read_micros", "gauge", "What reads of a disk take on average", |disk| disk.read_micros),
        ("sync_micros", "gauge", "What durable writes to a disk take on average", |disk| disk.sync_micros),
        ("troubled", "gauge", "1 when something is to be said of a disk", |disk| {
            (!disk.problem.is_empty()).into()
        }),
    ];
    add_numbers(text, "disk", disks, &numbers);
    add_errors(text, disks);
    text.family("disk_problems", "gauge", "Directories that are no disk of the node");
    text.add("", problem_count as u64);
}

fn add_errors(text: &mut Metrics, disks: &BTreeMap<DiskId, DiskReport>) {
    type Number = fn(&DiskErrors) -> u64;
    let kinds: [(&str, Number); 5] = [
        ("media_read", |errors| errors.media_read),
        ("media_write", |errors| errors.media_write),
        ("unreadable", |errors| errors.unreadable),
        ("damaged", |errors| errors.damaged),
        ("timeout", |errors| errors.timeouts),
    ];
    text.family("disk_errors_total", "counter", "What went wrong on a disk since it was opened");
    for (id, report) in disks {
        for (kind, number) in kinds {
            text.add(&format!("disk=\"{id}\",kind=\"{kind}\""), number(&report.errors));
        }
    }
}

/// A number of a disk: its name, its kind, what it says.
type Number<T> = (&'static str, &'static str, &'static str, fn(&T) -> u64);

/// Adds how the repair of disks goes on.
pub fn add_healing(text: &mut Metrics, healing: &BTreeMap<DiskId, DiskHealing>) {
    let numbers: [Number<DiskHealing>; 4] = [
        ("slots", "gauge", "Slots of a disk that are to be filled", |disk| disk.slots.into()),
        ("aside", "gauge", "Parts that cannot be made at the moment", |disk| disk.aside),
        ("parts_total", "counter", "Parts made again on a disk", |disk| disk.made),
        ("bytes_total", "counter", "Bytes of the parts made again on a disk", |disk| disk.bytes),
    ];
    add_numbers(text, "heal", healing, &numbers);
}

/// Adds how far disks are verified.
pub fn add_scrubs(text: &mut Metrics, scrubs: &BTreeMap<DiskId, ScrubStatus>) {
    let numbers: [Number<ScrubStatus>; 3] = [
        ("checked_bytes", "gauge", "Bytes of a disk that this pass has verified", |disk| disk.checked),
        ("found_total", "counter", "Damaged or unreadable places that were found", |disk| disk.found),
        ("passes_total", "counter", "How often all of a disk was verified", |disk| disk.passes),
    ];
    add_numbers(text, "scrub", scrubs, &numbers);
}

fn add_numbers<T>(text: &mut Metrics, about: &str, disks: &BTreeMap<DiskId, T>, numbers: &[Number<T>]) {
    for (name, kind, help, number) in numbers {
        text.family(&format!("{about}_{name}"), kind, help);
        for (id, disk) in disks {
            text.add(&format!("disk=\"{id}\""), number(disk));
        }
    }
}

/// Adds the numbers of chunks in the partitions of the index that this node leads.
pub fn add_chunks(text: &mut Metrics, indexes: &BTreeMap<PartitionId, IndexStats>) {
    type Number = fn(&IndexStats) -> u64;
    let flags: [(&str, Number); 3] =
        [("displaced", |stats| stats.displaced), ("thin", |stats| stats.thin), ("lost", |stats| stats.lost)];
    text.family("chunks", "gauge", "Chunks of a partition of the index, on its leader");
    for (id, stats) in indexes {
        text.add(&format!("partition=\"{id}\""), stats.chunks);
    }
    text.family("chunks_flagged", "gauge", "Chunks that are not whole, on the leader of their partition");
    for (id, stats) in indexes {
        for (flag, number) in flags {
            text.add(&format!("partition=\"{id}\",flag=\"{flag}\""), number(stats));
        }
    }
}
