//! Keys of the cluster: listed, rotated, destroyed.

use proto::keys::{DestroyKeys, KeyInfo, KeyList, KeyState, ListKeys, RotateKeys};
use serde_json::{Value, json};
use types::{Result, TenantId, counted};

use crate::exit::{self, Failure};
use crate::output::{Outcome, Table, time};
use crate::session::Session;

/// Lists what is known of every key.
pub async fn list(session: &Session) -> Result<Outcome> {
    Ok(show(&session.cluster.ask_root(&ListKeys {}).await?))
}

/// Has new keys made, and shows all.
pub async fn rotate(session: &Session) -> Result<Outcome> {
    Ok(show(&session.cluster.ask_root(&RotateKeys {}).await?))
}

/// Destroys the keys of a tenant, or says what that would mean.
pub async fn destroy(session: &Session, tenant: u32, yes: bool) -> exit::Result<Outcome> {
    let question = DestroyKeys { tenant: TenantId(tenant), dry_run: !yes };
    let keys = session.cluster.ask_root(&question).await?.keys;
    let ids = keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let what = format!("{} of tenant {tenant} ({ids})", counted(keys.len() as u64, "key"));
    if !yes {
        return Err(Failure::refused(format!(
            "this would destroy {what}: nobody could read again what is stored for it, and nothing new could be stored. \
             Add --yes to do it."
        )));
    }
    let json = json!({ "tenant": tenant, "destroyed": keys.iter().map(|key| key.0).collect::<Vec<_>>() });
    Ok(Outcome::ok(format!("destroyed {what}; nodes forget them within a minute"), json))
}

fn show(list: &KeyList) -> Outcome {
    let mut table = Table::new(&[">key", "tenant", "made", "state"]);
    for key in &list.keys {
        let tenant = if key.tenant == TenantId::CLUSTER { "ring".to_owned() } else { key.tenant.to_string() };
        table.row([key.id.to_string(), tenant, time(key.created), state(key.state)]);
    }
    Outcome::ok(table.render(), json!({ "keys": list.keys.iter().map(describe).collect::<Vec<_>>() }))
}

fn state(state: KeyState) -> String {
    match state {
        KeyState::Current => "current".to_owned(),
        KeyState::Old => "old".to_owned(),
        KeyState::Destroyed(when) => format!("destroyed {}", time(when)),
    }
}

fn describe(key: &KeyInfo) -> Value {
    let (state, destroyed) = match key.state {
        KeyState::Current => ("current", None),
        KeyState::Old => ("old", None),
        KeyState::Destroyed(when) => ("destroyed", Some(when.0)),
    };
    json!({
        "key": key.id.0,
        "tenant": key.tenant.0,
        "made_ms": key.created.0,
        "state": state,
        "destroyed_ms": destroyed,
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use types::{KeyId, Millis};

    use super::*;

    #[test]
    fn keys_are_listed_with_what_they_are_good_for() {
        let key = |id, tenant, state| KeyInfo {
            id: KeyId(id),
            tenant: TenantId(tenant),
            created: Millis(0),
            state,
        };
        let keys = vec![
            key(2, 1, KeyState::Old),
            key(3, 0, KeyState::Current),
            key(4, 1, KeyState::Current),
            key(15, 2, KeyState::Destroyed(Millis(1000))),
        ];
        let outcome = show(&KeyList { keys });
        expect![[r#"
            key  tenant  made                 state
              2  1       1970-01-01 00:00:00  old
              3  ring    1970-01-01 00:00:00  current
              4  1       1970-01-01 00:00:00  current
             15  2       1970-01-01 00:00:00  destroyed 1970-01-01 00:00:01
        "#]]
        .assert_eq(&outcome.text);
        assert_eq!(outcome.json["keys"][0]["state"], "old");
        assert_eq!(outcome.json["keys"][1]["tenant"], 0);
        assert_eq!(outcome.json["keys"][3]["destroyed_ms"], 1000);
    }
}
