//! Who talked to whom, as a picture: one line of time per machine, an arrow per message, faults and notes as marks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::SocketAddr;

use env::time::Duration;
use net::testing::LinkEventKind;
use proto::Method;

use crate::trace::{Event, Line};

/// Messages of one picture: the last ones before the end, which is where the reason is.
const MESSAGE_COUNT_MAX: usize = 1_500;
const LANE_WIDTH: u32 = 110;
const MARGIN: u32 = 70;
/// Pixels of one event: time is stretched so that every message can be told from the next.
const ROW_HEIGHT: u32 = 12;

/// A call while it is drawn.
struct Arrow {
    row: usize,
    from: SocketAddr,
    to: SocketAddr,
    what: String,
    color: &'static str,
}

/// Draws the end of a trace. What is not between machines is a note at the side.
pub fn draw(lines: &[Line], title: &str) -> String {
    let first = first_line(lines);
    let (arrows, notes) = collect(&lines[first..]);
    let machines: BTreeSet<SocketAddr> =
        arrows.iter().flat_map(|arrow| [arrow.from, arrow.to]).map(machine).collect();
    let lanes: BTreeMap<SocketAddr, u32> = machines.into_iter().zip(0..).collect();
    let rows = arrows.len() + notes.len();
    let (width, height) = (MARGIN * 2 + lanes.len() as u32 * LANE_WIDTH + 400, 60 + rows as u32 * ROW_HEIGHT);
    let x = |address: SocketAddr| MARGIN + lanes[&machine(address)] * LANE_WIDTH;
    let y = |row: usize| 50 + row as u32 * ROW_HEIGHT;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"monospace\" font-size=\"9\">\n<text x=\"10\" y=\"14\" font-size=\"12\">{}</text>\n",
        escape(title)
    );
    for address in lanes.keys() {
        let _ = writeln!(
            svg,
            "<text x=\"{0}\" y=\"34\" text-anchor=\"middle\">{1}</text>\
             <line x1=\"{0}\" y1=\"40\" x2=\"{0}\" y2=\"{height}\" stroke=\"#ccc\"/>",
            x(*address),
            name(*address)
        );
    }
    for arrow in &arrows {
        let (from, to, y) = (x(arrow.from), x(arrow.to), y(arrow.row));
        let head = if to > from { to.saturating_sub(5) } else { to + 5 };
        let _ = writeln!(
            svg,
            "<line x1=\"{from}\" y1=\"{y}\" x2=\"{to}\" y2=\"{y}\" stroke=\"{color}\"/>\
             <path d=\"M{to} {y} L{head} {above} L{head} {below} Z\" fill=\"{color}\"/>\
             <text x=\"{middle}\" y=\"{above}\" text-anchor=\"middle\" fill=\"{color}\">{what}</text>",
            color = arrow.color,
            above = y - 3,
            below = y + 3,
            middle = u32::midpoint(from, to),
            what = escape(&arrow.what),
        );
    }
    for (row, at, note) in &notes {
        let _ = writeln!(
            svg,
            "<rect x=\"0\" y=\"{}\" width=\"{width}\" height=\"{ROW_HEIGHT}\" fill=\"#fff3c4\"/>\
             <text x=\"4\" y=\"{}\">{}.{:03} {}</text>",
            y(*row) - ROW_HEIGHT + 3,
            y(*row),
            at.as_secs(),
            at.subsec_millis(),
            escape(note)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Where the last messages begin.
fn first_line(lines: &[Line]) -> usize {
    let shown = |line: &Line| matches!(&line.event, Event::Link(event) if style(event.kind).is_some());
    let messages: Vec<usize> = (0..lines.len()).filter(|index| shown(&lines[*index])).collect();
    messages.len().checked_sub(MESSAGE_COUNT_MAX).map_or(0, |skipped| messages[skipped])
}

type Notes = Vec<(usize, Duration, String)>;

fn collect(lines: &[Line]) -> (Vec<Arrow>, Notes) {
    let (mut arrows, mut notes) = (Vec::new(), Vec::new());
    for line in lines {
        let row = arrows.len() + notes.len();
        match &line.event {
            Event::Note(note) => notes.push((row, line.at, note.clone())),
            Event::Link(event) => {
                let Some(color) = style(event.kind) else { continue };
                let method = Method::from_number(event.letter.method);
                let verb =
                    method.map_or_else(|| event.letter.method.to_string(), |method| format!("{method:?}"));
                let mark = if event.letter.is_answer { "reply" } else { "" };
                let what = format!("{}.{:03} {verb} {mark}", line.at.as_secs(), line.at.subsec_millis());
                arrows.push(Arrow { row, from: event.letter.from, to: event.letter.to, what, color });
            }
        }
    }
    (arrows, notes)
}

/// The color of what is drawn; each message is drawn once, where it ends.
fn style(kind: LinkEventKind) -> Option<&'static str> {
    match kind {
        LinkEventKind::Delivered | LinkEventKind::Returned => Some("#2a6fb0"),
        LinkEventKind::Lost | LinkEventKind::AnswerLost => Some("#c0392b"),
        LinkEventKind::Refused | LinkEventKind::Closed | LinkEventKind::TimedOut => Some("#d35400"),
        LinkEventKind::Duplicated => Some("#8e44ad"),
        LinkEventKind::Sent | LinkEventKind::Answered => None,
    }
}

/// Both ports of a node are one lane.
fn machine(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), 0)
}

fn name(address: SocketAddr) -> String {
    match address.ip() {
        std::net::IpAddr::V4(ip) if ip.octets()[1] == 0 => format!("node {}", ip.octets()[3]),
        std::net::IpAddr::V4(ip) => format!("client {}", ip.octets()[3]),
        ip => ip.to_string(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use net::testing::{Letter, LinkEvent};

    use super::*;

    fn line(ms: u64, kind: LinkEventKind, from: u8, to: u8) -> Line {
        let at = Duration::from_millis(ms);
        let address = |n: u8| SocketAddr::from(([10, 0, 0, n], 7400));
        let letter = Letter {
            number: ms,
            from: address(from),
            to: address(to),
            method: Method::Pin as u16,
            header_size: 1,
            body_size: 0,
            is_answer: false,
        };
        Line { at, event: Event::Link(LinkEvent { at, kind, letter }) }
    }

    #[test]
    fn a_picture_has_lanes_arrows_and_notes() {
        let note = Line { at: Duration::from_millis(2), event: Event::Note("crash <node 2>".into()) };
        let lines = [
            line(1, LinkEventKind::Sent, 1, 2),
            line(1, LinkEventKind::Delivered, 1, 2),
            note,
            line(3, LinkEventKind::Lost, 2, 1),
        ];
        let svg = draw(&lines, "seed 1");
        assert_eq!(svg.matches("<path").count(), 2);
        for part in ["node 1", "node 2", "0.001 Pin", "crash &lt;node 2&gt;", "seed 1", "#c0392b", "</svg>"] {
            assert!(svg.contains(part), "{part}");
        }
    }

    #[test]
    fn only_the_end_is_drawn() {
        let lines: Vec<Line> = (0..3_000).map(|ms| line(ms, LinkEventKind::Delivered, 1, 2)).collect();
        assert_eq!(draw(&lines, "x").matches("<path").count(), MESSAGE_COUNT_MAX);
        assert!(draw(&[], "nothing").contains("</svg>"));
    }
}
