//! The part of `tracer check` about privileges.

use caps::CapsHashSet;
use serde_json::json;

use crate::privileges::{NEEDS, Need, Role, Walls};

const HEADINGS: [&str; 5] = ["CAPABILITY", "NEED", "HELD", "KEPT BY", "FOR"];

fn need(need: &Need) -> &'static str {
    if need.required {
        "required"
    } else {
        "optional"
    }
}

fn kept_by(need: &Need) -> Option<&'static str> {
    need.kept_by.map(Role::as_str)
}

/// What each capability is for, whether it is held, and which thread of
/// `tracer run` keeps it; then what else stands around the threads.
/// `width`: columns of the terminal, if there is one.
pub(super) fn table(held: &CapsHashSet, walls: Walls, width: Option<usize>) -> String {
    let mut out = String::new();
    let rows = NEEDS.iter().map(|n| {
        let name = n.capability.to_string();
        let yes = if held.contains(&n.capability) {
            "yes"
        } else {
            "no"
        };
        (name, need(n), yes, kept_by(n).unwrap_or("-"), n.why)
    });
    let [name, needed, yes, kept, why] = HEADINGS;
    for (name, needed, yes, kept, why) in
        std::iter::once((name.to_owned(), needed, yes, kept, why)).chain(rows)
    {
        let line = format!("{name:16}  {needed:8}  {yes:4}  {kept:9}  ");
        super::hanging(&mut out, &line, line.len(), why, width);
    }
    let there = |is: bool| if is { "yes" } else { "not in this kernel" };
    out.push('\n');
    let kept = "Once all is attached, `tracer run` holds of these what the column KEPT BY says, in \
                that thread alone.";
    super::hanging(&mut out, "", 0, kept, width);
    let stands = format!(
        "No new privileges: yes. Landlock (no file is written or run, few are read): {}. seccomp: {}.",
        there(walls.landlock != "none"),
        there(walls.seccomp)
    );
    super::hanging(&mut out, "", 0, &stands, width);
    out
}

pub(super) fn json(held: &CapsHashSet) -> Vec<serde_json::Value> {
    let row = |n: &Need| {
        json!({
            "capability": n.capability.to_string(),
            "required": n.required,
            "held": held.contains(&n.capability),
            "kept_by": kept_by(n),
            "for": n.why,
        })
    };
    NEEDS.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use caps::Capability;

    use super::*;

    #[test]
    fn each_capability_is_told_with_its_use_and_its_keeper() {
        let held = CapsHashSet::from([Capability::CAP_BPF, Capability::CAP_SYS_PTRACE]);
        let walls = Walls {
            landlock: "none",
            seccomp: true,
        };
        let text = table(&held, walls, None);
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line("CAP_BPF ").starts_with("CAP_BPF           required  yes   -          loads"));
        assert!(
            line("CAP_SYS_PTRACE")
                .starts_with("CAP_SYS_PTRACE    optional  yes   collector  finds")
        );
        assert!(line("CAP_NET_RAW").contains("optional  no    keeper"));
        assert!(
            text.contains(
                "Landlock (no file is written or run, few are read): not in this kernel."
            )
        );
        let rows = json(&held);
        assert_eq!(rows.len(), NEEDS.len());
        assert_eq!(rows[0]["held"], true);
        assert_eq!(rows[0]["kept_by"], serde_json::Value::Null);
    }
}
