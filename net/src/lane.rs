//! Lanes: which requests share room, so that clients cannot use up what consensus needs.

use proto::Method;
use types::Identity;

/// Requests that share room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Messages of Raft and heartbeats, from other nodes: without them a cluster has no leaders.
    Consensus,
    /// Administration and the state of the cluster.
    Control,
    /// What else nodes ask each other: shards, registrations.
    Nodes,
    /// Everything else.
    Clients,
}

impl Lane {
    /// All lanes.
    pub const ALL: [Lane; 4] = [Lane::Consensus, Lane::Control, Lane::Nodes, Lane::Clients];

    /// Where a request belongs.
    pub fn of(caller: &Identity, method: u16) -> Self {
        use Method::{
            AdoptDisk, ControlScrub, CreateNamespace, CreateToken, DestroyKeys, FetchHealing, FetchKeys,
            FetchMap, FetchStatus, FindNamespace, FinishSync, Heartbeat, IssueCertificate, Join,
            ListCertificates, ListKeys, ListTokens, Raft, RegisterDisks, RemoveDisk, RemoveNode,
            RenewCertificate, RevokeCertificates, RevokeToken, RotateKeys,
        };
        match Method::from_number(method) {
            Some(Raft | Heartbeat) if caller.is_node() => Lane::Consensus,
            Some(
                AdoptDisk | ControlScrub | CreateNamespace | CreateToken | DestroyKeys | FetchHealing
                | FetchKeys | FetchMap | FetchStatus | FindNamespace | FinishSync | IssueCertificate | Join
                | ListCertificates | ListKeys | ListTokens | RegisterDisks | RemoveDisk | RemoveNode
                | RenewCertificate | RevokeCertificates | RevokeToken | RotateKeys,
            ) => Lane::Control,
            _ if caller.is_node() => Lane::Nodes,
            _ => Lane::Clients,
        }
    }

    /// What it is called in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Lane::Consensus => "consensus",
            Lane::Control => "control",
            Lane::Nodes => "nodes",
            Lane::Clients => "clients",
        }
    }
}

#[cfg(test)]
mod tests {
    use types::NodeId;

    use super::*;

    #[test]
    fn a_verb_and_its_caller_decide_on_the_lane() {
        let (node, user) = (Identity::Node(NodeId(1)), Identity::User("ann".into()));
        for (method, from_node, from_user) in [
            (Method::Raft, Lane::Consensus, Lane::Clients),
            (Method::Heartbeat, Lane::Consensus, Lane::Clients),
            (Method::FetchStatus, Lane::Control, Lane::Control),
            (Method::PutShard, Lane::Nodes, Lane::Clients),
            (Method::WriteNamespace, Lane::Nodes, Lane::Clients),
        ] {
            let lanes = [&node, &user].map(|who| Lane::of(who, method as u16));
            assert_eq!(lanes, [from_node, from_user], "{method:?}");
        }
        assert_eq!(Lane::of(&user, u16::MAX), Lane::Clients);
    }
}
