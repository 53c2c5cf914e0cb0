//! How a run tells whoever waits what is going on.

/// Tells whoever waits what is going on.
pub fn say(text: impl std::fmt::Display) {
    eprintln!("chaos: {text}");
}
