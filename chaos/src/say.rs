//! How a run tells whoever is waiting what is going on.

/// Tells whoever is waiting what is going on.
pub fn say(text: impl std::fmt::Display) {
    eprintln!("chaos: {text}");
}
