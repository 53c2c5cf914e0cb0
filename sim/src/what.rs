//! What a run is made of, as words of the command line.

use clap::Args;
use sim::plan::{FaultKind, Options};
use types::{Error, Result};

/// Everything but the seed.
#[derive(Args, Clone, Debug)]
pub struct What {
    /// Nodes of the cluster
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(6..=64))]
    pub nodes: u64,
    /// Clients that change things
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=16))]
    pub clients: u64,
    /// Simulated seconds of work
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Only these kinds of faults, for example crash,pause; `none` for none, `all` for all: the default
    #[arg(long, value_delimiter = ',')]
    pub faults: Vec<String>,
    /// Leave out these faults of the plan, counted from 0
    #[arg(long, value_delimiter = ',')]
    pub without: Vec<usize>,
}

impl What {
    /// As the plan is drawn with them; `Invalid` for a kind of fault that there is not.
    pub fn options(&self) -> Result<Options> {
        let unknown = |name: &str| {
            let known = FaultKind::ALL.map(|k| format!("{k:?}").to_lowercase()).to_vec();
            Error::invalid(format!(
                "there is no kind of fault {name:?}: choose of {}, none",
                known.join(", ")
            ))
        };
        let kinds = match &self.faults[..] {
            [] => FaultKind::ALL.to_vec(),
            [none] if none == "none" => Vec::new(),
            names => {
                let mut kinds = Vec::new();
                for name in names {
                    match name.as_str() {
                        "all" => kinds.extend(FaultKind::ALL),
                        name => kinds.push(FaultKind::parse(name).ok_or_else(|| unknown(name))?),
                    }
                }
                kinds
            }
        };
        let (nodes, clients, seconds) = (self.nodes, self.clients, self.seconds);
        Ok(Options { nodes, clients, seconds, kinds, without: self.without.clone() })
    }

    /// The same as words of a command line.
    pub fn words(&self) -> Vec<String> {
        let mut words = vec![
            format!("--nodes={}", self.nodes),
            format!("--clients={}", self.clients),
            format!("--seconds={}", self.seconds),
        ];
        if !self.faults.is_empty() {
            words.push(format!("--faults={}", self.faults.join(",")));
        }
        if !self.without.is_empty() {
            let without: Vec<String> = self.without.iter().map(usize::to_string).collect();
            words.push(format!("--without={}", without.join(",")));
        }
        words
    }
}
