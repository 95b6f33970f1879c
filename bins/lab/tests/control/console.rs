//! The console as people use it: a real browser, the real server, packets of a real client.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use sluice_lab::services::Nginx;
use sluice_lab::{lab_test, wait_until};

use crate::browser::Browser;
use crate::headquarters::{DEVICE, Headquarters, PASSWORD};

/// Opened in a page, used by a client, terminated in another page, and the first page says why, by itself.
#[test]
fn access_opened_in_a_page_passes_packets_until_another_page_ends_it() {
    lab_test(|lab| {
        let hq = Headquarters::open(lab)?;
        let page = format!("curl -sS --max-time 3 http://{DEVICE}/");
        let alice = Browser::start(&hq.client, hq.origin())?;
        alice.log_in("alice", PASSWORD, "/access")?;
        alice.wait_for("You may open")?;
        ensure!(!hq.client.sh(&page)?.succeeded(), "reached without a session");

        // Without the reason that the target asks for, the browser itself does not send the form.
        alice.click("article summary")?;
        alice.click("article form button")?;
        ensure!(
            alice.run("return document.querySelector('input[name=\"/reason\"]').validity.valueMissing")?
                == true
        );
        alice.fill("input[name='/reason']", "INC-42")?;
        alice.click("article form button")?;
        alice.wait_for("Open now")?;
        wait_until("the device to answer", Duration::from_secs(5), || {
            Ok(hq.client.sh(&page)?.stdout == Nginx::greeting("device"))
        })?;

        let root = Browser::start(hq.server(), hq.origin())?;
        root.log_in("root", PASSWORD, "/sessions")?;
        root.click("tbody input[name=id]")?;
        root.click("form button.danger")?;
        root.wait_for("End this session?")?;
        root.fill("input[name=reason]", "out of hours")?;
        root.click("button.danger.solid")?;
        root.wait_for("The sessions have ended.")?;
        ensure!(!hq.client.sh(&page)?.succeeded(), "reached after the session was ended");
        alice.wait_for("Ended lately")?;
        alice.wait_for("out of hours")?;
        hq.verify_audit()
    });
}

/// The key pair is made in the browser: the server gets the public half, the page has the whole.
#[test]
fn a_device_added_in_a_page_gets_a_configuration_that_a_stock_client_takes() {
    lab_test(|lab| {
        let hq = Headquarters::open(lab)?;
        let browser = Browser::start(&hq.client, hq.origin())?;
        browser.log_in("alice", PASSWORD, "/devices/new")?;
        browser.fill("input[name='/name']", "phone")?;
        browser.click("form button.primary")?;
        browser.wait_for("This is shown once")?;
        let text = browser.run("return document.querySelector('#configuration').textContent")?;
        let text = text.as_str().context("no configuration")?.to_owned();
        ensure!(browser.run("return document.querySelectorAll('#qr svg path').length")? == 1, "no QR code");
        let devices = hq.alice.get("devices")?.to_string();
        let private = text.lines().find_map(|line| line.strip_prefix("PrivateKey = ")).context("no key")?;
        let public = hq.client.exec_with_input(&["wg", "pubkey"], private.as_bytes())?.ok()?;
        ensure!(devices.contains(public.stdout.trim()), "{devices} has not {}", public.stdout);
        // wg-quick reads it as it is.
        let path = lab.file("phone.conf", text)?;
        hq.client.sh(&format!("chmod 600 {0}; wg-quick strip {0}", path.display()))?.ok()?;
        Ok(())
    });
}
