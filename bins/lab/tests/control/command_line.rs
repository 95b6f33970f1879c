//! The control plane from the command line: files, explanations, imports.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use sluice_lab::{lab_test, retry};

use crate::headquarters::{DEVICE, Headquarters};

#[test]
fn what_is_exported_is_what_is_and_what_is_edited_is_told_field_by_field_and_then_done() {
    lab_test(|lab| {
        let hq = Headquarters::open(lab)?;
        let exported = hq.root.sluice("export")?.ok()?.stdout;
        let file = lab.file("all.yaml", &exported)?;
        let same = hq.root.sluice(&format!("diff -f {}", file.display()))?;
        ensure!(same.code == Some(0) && same.stdout.is_empty(), "{same}");

        let line = exported.lines().find(|line| line.contains("require_reason: true"));
        let line = line.with_context(|| exported.clone())?;
        let indent = " ".repeat(line.len() - line.trim_start().len());
        let edited = exported.replace(line, &format!("{indent}comment: edited\n{indent}max_duration: 2h"));
        ensure!(edited != exported, "{exported}");
        let file = lab.file("edited.yaml", &edited)?;
        let differs = hq.root.sluice(&format!("diff -f {}", file.display()))?;
        ensure!(differs.code == Some(1), "{differs}");
        for line in ["target web", "- require_reason: true", "+ comment: edited", "+ max_duration: 7200"] {
            ensure!(differs.stdout.contains(line), "{differs}\n  lacks {line}");
        }
        let applied = hq.root.sluice(&format!("apply -f {}", file.display()))?.ok()?;
        ensure!(
            applied.stdout.contains("target web changed") && applied.stdout.contains("user alice unchanged"),
            "{applied}"
        );
        ensure!(
            hq.root.sluice(&format!("diff -f {}", file.display()))?.code == Some(0),
            "applied, and differs"
        );

        // Somebody else's file: told where it is wrong, and with which code.
        let wrong = lab.file(
            "wrong.toml",
            "[[target]]\nname = 'x'\n[[target.dst]]\nselector = { adr = '10.0.0.1' }\n",
        )?;
        let refused = hq.root.sluice(&format!("apply -f {}", wrong.display()))?;
        ensure!(
            refused.code == Some(3)
                && refused.stderr.contains("target[0]")
                && refused.stderr.contains("dst[0].selector"),
            "{refused}"
        );
        let denied = hq.alice.sluice("create role mine")?;
        ensure!(denied.code == Some(7), "{denied}");
        hq.root.sluice("create role night --set comment='out of hours'")?.ok()?;
        let twice = hq.root.sluice("create role night")?;
        ensure!(twice.code == Some(3), "{twice}");
        let described = hq.root.sluice("describe role ops")?.ok()?.stdout;
        ensure!(
            described.contains("users") && described.contains("alice") && described.contains("web"),
            "{described}"
        );
        hq.verify_audit()
    });
}

#[test]
fn an_explanation_names_the_rule_and_the_translation_once_there_is_a_session() {
    lab_test(|lab| {
        let hq = Headquarters::open(lab)?;
        let ask = format!("explain {DEVICE}:80 -o json");
        let told = |output: String| serde_json::from_str::<Value>(&output);
        let before = told(hq.alice.sluice(&ask)?.ok()?.stdout)?;
        ensure!(before["verdict"] == "not-allowed" && before["targets"][0]["target"] == "web", "{before}");
        ensure!(before["targets"][0]["failed"][0]["code"] == "reason-required", "{before}");
        hq.open_session("INC-51")?;
        let after = told(hq.alice.sluice(&ask)?.ok()?.stdout)?;
        ensure!(after["verdict"] == "allowed" && after["rule"]["becomes"] == "192.168.7.10:80", "{after}");
        let words = hq.root.sluice(&format!("explain --user alice {DEVICE}:80"))?.ok()?.stdout;
        ensure!(words.starts_with("allowed from ") && words.contains("goes to   192.168.7.10:80"), "{words}");
        let elsewhere = told(hq.alice.sluice(&format!("explain {DEVICE}:22 -o json"))?.ok()?.stdout)?;
        ensure!(elsewhere["verdict"] == "not-allowed" && elsewhere["targets"] == json!([]), "{elsewhere}");
        Ok(())
    });
}

#[test]
fn what_passed_and_what_was_refused_can_be_read_afterwards() {
    lab_test(|lab| {
        let hq = Headquarters::open(lab)?;
        let session = hq.open_session("INC-52")?;
        hq.client.sh(&format!("curl -sS --max-time 3 http://{DEVICE}/"))?.ok()?;
        let refused = hq.client.sh(&format!("curl -sS --max-time 3 http://{DEVICE}:81/"))?;
        ensure!(!refused.succeeded(), "{refused}");
        hq.alice.sluice(&format!("session close {session}"))?.ok()?;
        let flow = retry("the flow to be told of", Duration::from_secs(15), || {
            let flows = hq.alice.sluice("flows -o json")?.ok()?.stdout;
            Ok(serde_json::from_str::<Vec<Value>>(&flows)?.into_iter().next())
        })?;
        ensure!(
            flow["session"] == session.as_str() && flow["target"] == "web" && flow["user"] == "alice",
            "{flow}"
        );
        ensure!(
            flow["destination"] == format!("{DEVICE}:80") && flow["reached"] == "192.168.7.10:80",
            "{flow}"
        );
        ensure!(flow["bytes_in"].as_u64() > Some(200), "{flow}");
        let nobodys = hq.root.sluice("flows --user root -o json")?.ok()?.stdout;
        ensure!(nobodys.trim() == "[]", "{nobodys}");
        let event = retry("the refusal to be written down", Duration::from_secs(15), || {
            let found = hq.root.get("audit?action=packets-refused&actor=alice")?;
            Ok(found["items"].as_array().and_then(|items| items.first()).cloned())
        })?;
        ensure!(
            event["details"]["packets"].as_u64() >= Some(1) && event["reason"] == "not_allowed",
            "{event}"
        );
        ensure!(event["details"]["last"]["destination"] == format!("{DEVICE}:81"), "{event}");
        hq.verify_audit()
    });
}

#[test]
fn targets_of_privx_are_made_here_and_what_stays_behind_is_named() {
    lab_test(|lab| {
        let hq = Headquarters::open(lab)?;
        let target = |name: &str, ip: &str| {
            json!({
                "id": "0b5c9f3e-0000-4000-8000-000000000001", "created": "2024-03-01T10:00:00Z", "author": "u1",
                "updated": "2024-03-01T10:00:00Z", "updated_by": "u1", "name": name, "comment": "from PrivX",
                "user_instructions": "use a browser", "tags": ["prod"], "src_nat": true, "exclusive_access": false,
                "disabled": "FALSE", "integration_type": "", "static_config": "{\"type\":\"l3rules\"}",
                "roles": [{ "id": "r1", "name": "ops" }, { "id": "r2", "name": "privx-admins" }],
                "dst": [{ "selector": { "ip": { "start": ip, "end": ip }, "proto": "tcp",
                    "port": { "start": 443, "end": 443 } }, "nat": { "addr": "192.168.57.19", "port": 10443 } }],
            })
        };
        let items = [target("portal", "192.168.1.1"), target("metadata", "169.254.169.254")];
        let file = lab.file("privx.json", json!({ "count": 2, "items": items }).to_string())?;
        let trial = hq.root.sluice(&format!("import privx {} --dry-run", file.display()))?.ok()?.stdout;
        ensure!(trial.contains("target portal would be created"), "{trial}");
        ensure!(hq.root.sluice("get target portal")?.code != Some(0), "a dry run made it");

        let done = hq.root.sluice(&format!("import privx {} --create-roles", file.display()))?;
        ensure!(done.code == Some(3), "{done}");
        for said in [
            "role privx-admins created",
            "target portal created",
            "not carried over: static_config",
            "169.254.169.254",
        ] {
            ensure!(done.stdout.contains(said), "{done}\n  lacks {said}");
        }
        let portal = hq.root.get("targets/portal")?;
        ensure!(portal["roles"] == json!(["ops", "privx-admins"]) && portal["src_nat"] == true, "{portal}");
        ensure!(portal["dst"][0]["nat"] == json!({ "addr": "192.168.57.19", "port": 10443 }), "{portal}");
        let again = hq.root.sluice(&format!("import privx {}", file.display()))?.stdout;
        ensure!(again.contains("target portal unchanged"), "{again}");
        hq.verify_audit()
    });
}
