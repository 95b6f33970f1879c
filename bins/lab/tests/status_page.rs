//! Services at a node's own addresses: the status page, asked by a real browser's library through real tunnels.

use anyhow::{Result, ensure};
use sluice_lab::sluice::Sockets;
use sluice_lab::topology::{Chain, ChainConfig, Spot};
use sluice_lab::{Host, lab_test};

#[test]
fn each_asker_sees_what_is_open_to_it_at_the_nodes_own_addresses_and_nowhere_else() {
    for sockets in [None, Some(Sockets::default())] {
        lab_test(|lab| {
            let config =
                ChainConfig { status_page: true, sockets: sockets.clone(), ..ChainConfig::default() };
            let chain = Chain::start(lab, &config)?;
            let client = &chain.client;
            let [v4, v6] = Spot::Device.target(0);
            for (address, asker, device) in
                [("10.99.0.1", Chain::CLIENT[0], v4), ("[fd99::1]", Chain::CLIENT[1], v6)]
            {
                let page = curl(client, &format!("http://{address}/"))?;
                for part in [asker, "<td>site0</td>", "<td>status page</td>", &device] {
                    ensure!(page.contains(part), "no {part} in {page}");
                }
                let json = curl(client, &format!("http://{address}/status.json"))?;
                let json: serde_json::Value = serde_json::from_str(&json)?;
                ensure!(json["you"] == asker && json["kind"] == "router", "{json}");
                ensure!(json["open"].as_array().is_some_and(|open| open.len() == 2), "{json}");
            }
            // The connector is asked by the router, on behalf of the client whom its session lets through.
            let page = curl(client, &format!("http://{}/status.json", Chain::connector_page(0)));
            ensure!(page.is_err(), "by a name that is not its address");
            let line =
                format!("curl -sS --max-time 5 -H 'Host: 10.99.0.2' http://{}/", Chain::connector_page(0));
            let page = client.sh(&line)?.ok()?.stdout;
            ensure!(page.contains("10.99.0.1") && page.contains("tcp port 40000"), "{page}");
            let misdirected = client.sh(
                "curl -sS --max-time 5 -o /dev/null -w '%{http_code}' -H 'Host: evil.example' http://10.99.0.1/",
            )?;
            ensure!(misdirected.stdout == "421", "{misdirected}");
            // Another port, and the same port from the outside of the tunnel.
            for line in ["http://10.99.0.1:81/", "http://203.0.113.1/", "http://10.99.0.2/"] {
                ensure!(curl(client, line).is_err(), "{line} answers");
            }
            Ok(())
        });
    }
}

#[test]
fn without_being_asked_for_there_is_no_page() {
    lab_test(|lab| {
        let chain = Chain::start(lab, &ChainConfig::default())?;
        ensure!(curl(&chain.client, "http://10.99.0.1/").is_err(), "there is one");
        Ok(())
    });
}

fn curl(client: &Host, url: &str) -> Result<String> {
    let line = format!("curl -sS --fail --max-time 5 {url}");
    Ok(client.sh(&line)?.ok()?.stdout)
}
