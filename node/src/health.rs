//! How a node is, as it shows on its pages: `/healthz`, `/readyz` and `/metrics`.
//!
//! Owns: what makes a node ready, and the names of the numbers.
//! Knows nothing of: HTTP.

mod disks;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use net::{BusyReason, Counters, Lane, Page, Transport};
use proto::cluster::DiskReport;
use proto::disks::{DiskHealing, ScrubStatus};
use proto::index::IndexStats;
use raft::{GroupStatus, Role};
use types::limits::NODE_SILENCE_MS_MAX;
use types::{DiskId, Epoch, PartitionId};

use text::Metrics;

/// What is known of a node at one moment.
#[derive(Clone, Debug)]
pub struct Health {
    /// Rooms that the configuration asks for and that have not started.
    pub starting: Vec<&'static str>,
    /// The partitions whose copies it has.
    pub partitions: BTreeMap<PartitionId, GroupStatus>,
    /// Its map; 0 when it knows none.
    pub epoch: Epoch,
    /// How long ago a leader of the root partition has heard it; `None` when none has.
    pub heard: Option<Duration>,
    /// What it says of its disks.
    pub disks: BTreeMap<DiskId, DiskReport>,
    /// What is wrong with its directories beside that.
    pub disk_problems: Vec<String>,
    /// How their repair goes on.
    pub healing: BTreeMap<DiskId, DiskHealing>,
    /// How far they are verified.
    pub scrubs: BTreeMap<DiskId, ScrubStatus>,
    /// What the partitions of the index know that it leads.
    pub indexes: BTreeMap<PartitionId, IndexStats>,
    /// Readers of journals that wait.
    pub polls: usize,
    /// How often one of them was woken.
    pub polls_woken: u64,
}

impl Health {
    /// Why the node is not ready to serve; empty when it is.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<String> =
            self.starting.iter().map(|room| format!("the {room} is starting")).collect();
        if self.epoch == Epoch(0) {
            reasons.push("no cluster map is known".into());
        }
        match self.heard {
            None => reasons.push("no leader of the root partition has heard this node yet".into()),
            Some(ago) if ago > Duration::from_millis(NODE_SILENCE_MS_MAX) => {
                reasons.push(format!(
                    "no leader of the root partition has heard this node for {} s",
                    ago.as_secs()
                ));
            }
            Some(_) => {}
        }
        for (id, status) in &self.partitions {
            if status.role == Role::Stopped {
                reasons.push(format!("partition {id} has stopped here"));
            } else if status.leader.is_none() {
                reasons.push(format!("partition {id} has no leader"));
            }
        }
        reasons
    }

    /// The page of a path; `None` when there is none.
    pub fn page(&self, path: &str, counters: &Counters) -> Option<Page> {
        let page = |is_good, text| Some(Page { is_good, text });
        match path {
            "/healthz" => page(true, "ok\n".into()),
            "/readyz" => {
                let reasons = self.reasons();
                let lines = reasons.iter().map(|reason| format!("{reason}\n")).collect();
                page(reasons.is_empty(), if reasons.is_empty() { "ready\n".into() } else { lines })
            }
            "/metrics" => page(true, self.metrics(counters)),
            _ => None,
        }
    }

    /// All numbers in the text format of Prometheus.
    fn metrics(&self, counters: &Counters) -> String {
        let mut text = Metrics::default();
        text.family("up", "gauge", "1 while the node serves").add("", 1);
        text.family("ready", "gauge", "1 while the node is ready").add("", self.reasons().is_empty().into());
        text.family("map_epoch", "gauge", "Epoch of the cluster map").add("", self.epoch.0);
        text.family("polls", "gauge", "Readers of journals that wait").add("", self.polls as u64);
        text.family("polls_woken_total", "counter", "Readers woken by a change").add("", self.polls_woken);
        self.add_partitions(&mut text);
        disks::add(&mut text, &self.disks, self.disk_problems.len());
        disks::add_healing(&mut text, &self.healing);
        disks::add_scrubs(&mut text, &self.scrubs);
        disks::add_chunks(&mut text, &self.indexes);
        add_traffic(&mut text, counters);
        text.finish()
    }

    fn add_partitions(&self, text: &mut Metrics) {
        type Number = fn(&GroupStatus) -> u64;
        let numbers: [(&str, &str, Number); 7] = [
            ("leading", "1 on the leader of the partition", |s| (s.role == Role::Leader).into()),
            ("leader_known", "1 while the node knows a leader", |s| s.leader.is_some().into()),
            ("stopped", "1 when the copy has stopped", |s| (s.role == Role::Stopped).into()),
            ("term", "Term of Raft", |s| s.term),
            ("log_last", "Position of the newest entry of the log", |s| s.log_last),
            ("applied", "Commands applied", |s| s.applied),
            ("lag", "Entries of the log that are not applied", |s| s.log_last.saturating_sub(s.log_applied)),
        ];
        for (name, help, number) in numbers {
            text.family(&format!("partition_{name}"), "gauge", help);
            for (id, status) in &self.partitions {
                text.add(&format!("partition=\"{id}\""), number(status));
            }
        }
    }
}

fn add_traffic(text: &mut Metrics, counters: &Counters) {
    let of_lane = |lane: Lane| format!("lane=\"{}\"", lane.name());
    text.family("requests_total", "counter", "Requests received, by transport");
    Transport::ALL.iter().for_each(|t| text.add(&format!("transport=\"{t}\""), counters.of(*t).requests));
    text.family("errors_total", "counter", "Requests answered with an error, by transport");
    Transport::ALL.iter().for_each(|t| text.add(&format!("transport=\"{t}\""), counters.of(*t).errors));
    text.family("bytes_total", "counter", "Bytes, by transport and direction");
    for transport in Transport::ALL {
        let traffic = counters.of(transport);
        for (direction, bytes) in [("received", traffic.received), ("sent", traffic.sent)] {
            text.add(&format!("transport=\"{transport}\",direction=\"{direction}\""), bytes);
        }
    }
    text.family("lane_requests_total", "counter", "Requests admitted, by lane");
    Lane::ALL.iter().for_each(|lane| text.add(&of_lane(*lane), counters.lane(*lane).requests));
    text.family("lane_errors_total", "counter", "Requests admitted and answered with an error, by lane");
    Lane::ALL.iter().for_each(|lane| text.add(&of_lane(*lane), counters.lane(*lane).errors));
    text.family("lane_bytes_total", "counter", "Bytes of requests and answers, by lane and direction");
    for lane in Lane::ALL {
        let traffic = counters.lane(lane);
        for (direction, bytes) in [("received", traffic.received), ("sent", traffic.sent)] {
            text.add(&format!("{},direction=\"{direction}\"", of_lane(lane)), bytes);
        }
    }
    text.family("refused_total", "counter", "Requests and connections refused at once, by lane and reason");
    for lane in Lane::ALL {
        for (reason, count) in BusyReason::ALL.iter().zip(counters.lane(lane).refused) {
            text.add(&format!("{},reason=\"{}\"", of_lane(lane), reason.name()), count);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proto::map::DiskState;
    use types::{NodeId, ReplicaId};

    use super::*;

    fn replica(node: u64) -> ReplicaId {
        ReplicaId::new(NodeId(node), 1)
    }

    fn group(role: Role, leader: Option<u64>) -> GroupStatus {
        GroupStatus {
            role,
            leader: leader.map(replica),
            term: 3,
            log_last: 10,
            log_applied: 8,
            applied: 7,
            voters: [replica(1)].into(),
            learners: [].into(),
            is_short_of_space: false,
            problem: None,
            restarts: 0,
        }
    }

    fn disk() -> DiskReport {
        let (state, read_micros) = (DiskState::Slow, 900);
        let errors = proto::cluster::DiskErrors { damaged: 2, ..Default::default() };
        DiskReport { state, free_bytes: 12, read_micros, errors, ..DiskReport::default() }
    }

    fn healing() -> DiskHealing {
        let (per_mille, bytes_per_second, seconds_left) = (10, 0, None);
        let limit = proto::disks::HealLimit::Users;
        DiskHealing {
            slots: 4,
            per_mille,
            aside: 5,
            made: 6,
            bytes: 7,
            bytes_per_second,
            seconds_left,
            limit,
        }
    }

    fn healthy() -> Health {
        let mode = proto::disks::ScrubMode::Scheduled;
        let scrub = ScrubStatus { mode, checked: 8, found: 9, passes: 10, last_pass: None };
        Health {
            starting: vec![],
            partitions: [(PartitionId(0), group(Role::Leader, Some(1)))].into(),
            epoch: Epoch(5),
            heard: Some(Duration::from_millis(300)),
            disks: [(DiskId(7), disk())].into(),
            disk_problems: vec!["/x: no disk".into()],
            healing: [(DiskId(7), healing())].into(),
            scrubs: [(DiskId(7), scrub)].into(),
            indexes: [(PartitionId(2), IndexStats { lost: 3, ..IndexStats::default() })].into(),
            polls: 4,
            polls_woken: 9,
        }
    }

    #[track_caller]
    fn check(health: Health, want: &[&str]) {
        assert_eq!(health.reasons(), want);
        let page = health.page("/readyz", &Counters::default()).unwrap();
        assert_eq!(page.is_good, want.is_empty());
        assert_eq!(page.text.lines().count(), want.len().max(1));
    }

    #[test]
    fn a_node_that_is_not_ready_says_why() {
        check(healthy(), &[]);
        check(Health { starting: vec!["metaserver"], ..healthy() }, &["the metaserver is starting"]);
        check(Health { epoch: Epoch(0), ..healthy() }, &["no cluster map is known"]);
        let unheard = "no leader of the root partition has heard this node";
        check(Health { heard: None, ..healthy() }, &[&format!("{unheard} yet")]);
        check(Health { heard: Some(Duration::from_secs(9)), ..healthy() }, &[&format!("{unheard} for 9 s")]);
        let partitions = [
            (PartitionId(1), group(Role::Follower, None)),
            (PartitionId(2), group(Role::Stopped, Some(1))),
            (PartitionId(3), group(Role::Learner, Some(1))),
        ];
        let health = Health { partitions: partitions.into(), ..healthy() };
        check(health, &["partition 1 has no leader", "partition 2 has stopped here"]);
    }

    #[test]
    fn numbers_are_in_the_text_format() {
        let text = healthy().page("/metrics", &Counters::default()).unwrap().text;
        for line in [
            "# TYPE cloudsync_up gauge",
            "cloudsync_up 1",
            "cloudsync_polls 4",
            "cloudsync_partition_leading{partition=\"0\"} 1",
            "cloudsync_partition_lag{partition=\"0\"} 2",
            "cloudsync_disk_state{disk=\"7\",state=\"slow\"} 1",
            "cloudsync_disk_state{disk=\"7\",state=\"healthy\"} 0",
            "cloudsync_disk_free_bytes{disk=\"7\"} 12",
            "cloudsync_disk_read_micros{disk=\"7\"} 900",
            "cloudsync_disk_errors_total{disk=\"7\",kind=\"damaged\"} 2",
            "cloudsync_disk_problems 1",
            "cloudsync_heal_slots{disk=\"7\"} 4",
            "cloudsync_heal_aside{disk=\"7\"} 5",
            "cloudsync_heal_parts_total{disk=\"7\"} 6",
            "cloudsync_heal_bytes_total{disk=\"7\"} 7",
            "cloudsync_scrub_checked_bytes{disk=\"7\"} 8",
            "cloudsync_scrub_found_total{disk=\"7\"} 9",
            "cloudsync_scrub_passes_total{disk=\"7\"} 10",
            "cloudsync_chunks_flagged{partition=\"2\",flag=\"lost\"} 3",
            "cloudsync_requests_total{transport=\"quic\"} 0",
            "cloudsync_lane_bytes_total{lane=\"consensus\",direction=\"sent\"} 0",
            "cloudsync_refused_total{lane=\"clients\",reason=\"share\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        let is_sound = |line: &str| {
            line.starts_with("# ") || line.rsplit(' ').next().is_some_and(|n| n.parse::<u64>().is_ok())
        };
        assert!(text.lines().all(is_sound), "{text}");
    }
    /// The names of all metrics in a text.
    fn metrics_in(text: &str) -> BTreeSet<&str> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words = text.split(|c| !is_part(c)).filter(|word| word.starts_with("cloudsync_"));
        words.collect()
    }

    /// What the examples for operators ask for is there.
    #[test]
    fn every_metric_of_the_examples_exists() {
        let page = healthy().page("/metrics", &Counters::default()).unwrap().text;
        let known = metrics_in(&page);
        for (name, text) in [
            ("alerts.yml", include_str!("../../deploy/prometheus/alerts.yml")),
            ("dashboard.json", include_str!("../../deploy/grafana/dashboard.json")),
        ] {
            let unknown: Vec<_> =
                metrics_in(text).into_iter().filter(|metric| !known.contains(metric)).collect();
            assert_eq!(unknown, [""; 0], "{name}");
            assert!(metrics_in(text).len() > 5, "{name} is about our metrics");
        }
    }
}
