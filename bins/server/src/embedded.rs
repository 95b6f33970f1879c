//! The router in the server's own process. It is led as the others are: the same protocol, over a pipe. Called by run.

use std::io;
use std::sync::Arc;

use control_proto::{AgentKind, BootId, Name};
use router_core::Refusal;
use sluice_runtime::host::background::StackPlan;
use sluice_runtime::host::control::{Agent, LedKind, LedNode, Link, Own, PORT, accept, door_rules, follow};
use sluice_runtime::host::failure::{Exit, Failure};
use sluice_runtime::host::metrics::{NodeCollector, NodeNumbers};
use sluice_runtime::host::program::{NodePlan, Program, TunPlan};
use sluice_runtime::service::Waker;
use uuid::Uuid;

use crate::config::ServerConfig;
use crate::control::Control;

/// The running router.
pub(crate) struct Embedded {
    program: Arc<Program>,
    link: Link,
}

impl Embedded {
    /// Starts it, with nothing that may pass but what agents say to the server. Call it inside a tokio runtime.
    pub(crate) fn start(
        config: &ServerConfig,
        control: &Control,
        router: Uuid,
        waker: Waker,
    ) -> Result<Embedded, Failure> {
        let plan = plan(config);
        let rules = door_rules(&config.node.addresses, &config.server.overlay);
        let own = Own { kind: LedKind::Router, peers: Vec::new(), rules };
        let snapshot = own.snapshot(&plan);
        let program = Arc::new(Program::start(plan, |_, _| snapshot, waker)?);
        control
            .leadership(router)
            .ok_or_else(|| Failure::new(Exit::Failed, "the embedded router is not in the store"))?;
        let agent = Agent {
            kind: AgentKind::Router,
            software: Name::cut(concat!("sluice-server ", env!("CARGO_PKG_VERSION"))),
            boot_id: BootId(Uuid::now_v7().as_u128()),
        };
        let led = LedNode::new(&program, own);
        let link = led.link();
        let own = control.clone();
        // Whoever leads it may be another than before.
        tokio::spawn(follow(led, agent, move || {
            let stream = own.leadership(router).map(|leadership| leadership.connect());
            std::future::ready(stream.ok_or_else(|| io::ErrorKind::NotConnected.into()))
        }));
        open_door(&program, config, control)?;
        Ok(Embedded { program, link })
    }

    /// Its UDP port.
    pub(crate) fn listen_port(&self) -> u16 {
        self.program.runtime().listen_port()
    }

    /// How it stands with the control plane.
    pub(crate) fn link(&self) -> Link {
        self.link.clone()
    }

    /// What is counted of it.
    pub(crate) fn collector(&self) -> NodeCollector {
        let (program, link) = (Arc::downgrade(&self.program), self.link());
        NodeCollector::new(move || Some(NodeNumbers::of(&*program.upgrade()?, Some(link.state()))))
    }

    /// Whether its threads are at work.
    pub(crate) fn is_healthy(&self) -> bool {
        self.program.is_healthy()
    }

    /// Ends it.
    pub(crate) fn stop(&self) {
        self.program.stop();
    }
}

/// Agents ask at the server's addresses inside the tunnels.
fn open_door(program: &Arc<Program>, config: &ServerConfig, control: &Control) -> Result<(), Failure> {
    let stack =
        program.stack().ok_or_else(|| Failure::new(Exit::Failed, "the embedded router has no stack"))?;
    for address in &config.node.addresses {
        let listener = stack.listen((*address, PORT).into()).map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot listen on {address} inside the tunnels"))
                .because(&error)
        })?;
        let control = control.clone();
        tokio::spawn(accept(listener, move |from| control.leadership_at(from)));
    }
    Ok(())
}

fn plan(config: &ServerConfig) -> NodePlan {
    let tun = config.tun.as_ref().map(|settings| TunPlan {
        settings: settings.clone(),
        routes: Vec::new(),
        clients: Vec::new(),
    });
    NodePlan {
        node: config.node.clone(),
        tun,
        stack: Some(StackPlan::of(&config.node, config.sockets.as_ref()).unwrap_or(StackPlan::FOR_SERVICES)),
        sockets: config.sockets.clone(),
        peers: Vec::new(),
        refusal: Refusal::Prohibited,
    }
}
