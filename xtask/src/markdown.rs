//! As much of Markdown as the rules need.

/// The lines of the first block fenced with three backticks and `name`, with their numbers. Empty lines are left out.
pub fn block<'a>(text: &'a str, name: &str) -> Vec<(usize, &'a str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    let inside = lines.skip_while(|(_, line)| line.trim().strip_prefix("```") != Some(name)).skip(1);
    inside.take_while(|(_, line)| line.trim() != "```").filter(|(_, line)| !line.trim().is_empty()).collect()
}

/// The first cell of every row of every table.
pub fn first_cells(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next()).map(str::trim)
}

/// What stands in bold.
pub fn bold(text: &str) -> impl Iterator<Item = &str> {
    text.split("**").skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_by_name() {
        let text = "a\n```verbs\nput a\n\nget b\n```\n```arrows\nx\n```\n";
        assert_eq!(block(text, "verbs"), [(3, "put a"), (5, "get b")]);
        assert_eq!(block(text, "arrows"), [(8, "x")]);
        assert_eq!(block(text, "nouns"), []);
    }

    #[test]
    fn bold_words_of_tables() {
        let text = "**no**\n| word | meaning |\n|---|---|\n| **pin** | **b** |\n| **a / b**, **c** | d |\n";
        let found: Vec<&str> = first_cells(text).flat_map(bold).collect();
        assert_eq!(found, ["pin", "a / b", "c"]);
    }
}
