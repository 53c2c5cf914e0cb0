//! How long and how hard a survey asks.

use std::time::Duration;

use types::Result;

/// Versions, or chunks, that are read at once.
pub(super) const READS_IN_FLIGHT: usize = 8;
/// How long a node may take to have what the others have.
pub(super) const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is asked.
pub(super) const CATCH_UP_PERIOD: Duration = Duration::from_millis(100);

/// Asks again while the error may pass, up to a time by which everything that heals has healed.
pub(super) async fn patiently<T>(ask: impl AsyncFn() -> Result<T>) -> Result<T> {
    let deadline = env::time::now() + CATCH_UP_TIMEOUT;
    loop {
        match ask().await {
            Err(e) if e.is_transient() && env::time::now() < deadline => {
                env::time::sleep(CATCH_UP_PERIOD).await
            }
            answer => return answer,
        }
    }
}
