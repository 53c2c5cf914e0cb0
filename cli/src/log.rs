//! What a process logs, and how often it says the same.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::Mutex;

use env::time::Instant;
use tracing::callsite::Identifier;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter, Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};
use types::limits::LOG_REMINDER_PERIOD;

/// Its warnings come with every heartbeat of every group that fails.
const TALKATIVE: &str = "openraft";

/// Logs go to standard error; `CLOUDSYNC_LOG` says how much, as RUST_LOG does elsewhere.
pub fn start(default: &str) {
    let filter = EnvFilter::try_from_env("CLOUDSYNC_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let color = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_ansi(color).with_writer(std::io::stderr).with_filter(Reminders::default());
    tracing_subscriber::registry().with(filter).with(lines).init();
}

/// Lets a talkative library say the same once in a while. The same is what comes from one line of its code.
#[derive(Default)]
struct Reminders(Mutex<HashMap<Identifier, Instant>>);

impl Reminders {
    /// True when it is time to say it (again).
    fn is_due(&self, what: Identifier, now: Instant) -> bool {
        let mut said = self.0.lock().expect("no panic while it is held");
        let is_due = said.get(&what).is_none_or(|last| now >= *last + LOG_REMINDER_PERIOD);
        if is_due {
            said.insert(what, now); // As many as the library has lines that log.
        }
        is_due
    }
}

impl<S: Subscriber> Filter<S> for Reminders {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        !metadata.target().starts_with(TALKATIVE) || self.is_due(metadata.callsite(), env::time::now())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use env::time::{Duration, sleep};

    use super::*;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_is_said_once_in_a_while() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(Reminders::default()));
        let _default = tracing::subscriber::set_default(subscriber);
        for _ in 0..1_000 {
            tracing::warn!(target: "openraft::core", "no heartbeat");
            tracing::warn!(target: "node", "ours");
            sleep(LOG_REMINDER_PERIOD / 500 + Duration::from_millis(1)).await;
        }
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let count = |part| text.lines().filter(|line| line.contains(part)).count();
        assert_eq!((count("no heartbeat"), count("ours")), (3, 1_000));
    }
}
