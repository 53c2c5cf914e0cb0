//! Hands sealed segments of the log to an archive, in order, before they may be deleted.

use std::sync::{Arc, Weak};

use types::Result;
use types::limits::{LOG_ARCHIVE_LAG_SIZE_MAX, LOG_ARCHIVE_PERIOD};

use crate::Archive;
use crate::log::News;
use crate::shared::Shared;

/// Looks for what is to be archived until the host is gone.
pub async fn run(host: Weak<Shared>, archive: Arc<dyn Archive>) {
    loop {
        env::time::sleep(LOG_ARCHIVE_PERIOD).await;
        while let Some(news) = host.upgrade().and_then(|host| host.log.archive_news()) {
            if let Err(e) = tell(&archive, news.clone()).await {
                tracing::warn!(error = %e, ?news, "the archive does not take the raft log; will try again");
                break;
            }
            let Some(host) = host.upgrade() else { return };
            host.log.archived(&news);
        }
        if host.strong_count() == 0 {
            return;
        }
    }
}

async fn tell(archive: &Arc<dyn Archive>, news: News) -> Result<()> {
    let archive = archive.clone();
    env::task::blocking(move || match news {
        News::Lost(numbers) => archive.lose_segments(numbers),
        News::Sealed(number, path) => archive.take_segment(number, &path),
    })
    .await
}

/// Gives up what the archive has not taken for too long.
pub fn limit(host: &Shared) {
    if let Some(lost) = host.log.limit_archive(LOG_ARCHIVE_LAG_SIZE_MAX) {
        tracing::error!(
            ?lost,
            "the archive has not taken these segments of the raft log, and there is no room to wait: it has a gap; repair it"
        );
    }
}
