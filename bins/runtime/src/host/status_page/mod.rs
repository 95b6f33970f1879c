//! A page at the node's own address inside the tunnels: who asks sees what is open to them, and nothing of others.
//! Read first: stack. Called by program; the rules that let anybody ask are made by the router and the connector.

mod page;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, uri::Authority};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::serve::IncomingStream;
use axum::{Json, Router};
use ipnet::IpNet;
use router_core::Refusal;
use router_core::flow::Caps;
use router_core::nat::Snat;
use router_core::packet::Protocol;
use router_core::rules::{Destination, EgressChoice, IngressMatch, Rule, Subject};
use router_core::selector::{IpRange, PortRange, Selector};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

pub use self::page::Page;
use super::admin::collect::RuleText;
use super::config::node::NodeSettings;
use super::rule_id;
use crate::stack::{TcpListener, TcpStream};

/// Where browsers look without being told.
pub const PORT: u16 = 80;
/// What its rules are called in status.
const TARGET: &str = "status page";

// Our own choices.
/// All askers of one address range together: a page takes one flow for a moment.
const CAPS: Caps = Caps { flows_max: 1024, half_open_max: 256, ports_max: 0, new_flows_per_sec: 200 };

/// To make a page, all sessions are looked at under the node's lock: some ten nanoseconds each. One page in so much time.
const PAGE_INTERVAL: Duration = Duration::from_millis(20);

/// Makes the page for whoever asks; `None` while the program ends.
pub type PageMaker = Arc<dyn Fn(IpAddr) -> Option<Page> + Send + Sync>;

/// Makes pages one at a time.
#[derive(Clone)]
struct Pages {
    make: PageMaker,
    next: Arc<Mutex<Instant>>,
}

impl Pages {
    async fn page(&self, asker: IpAddr) -> Result<Page, StatusCode> {
        let mut next = self.next.lock().await;
        sleep_until(*next).await;
        *next = Instant::now() + PAGE_INTERVAL;
        (self.make)(asker).ok_or(StatusCode::SERVICE_UNAVAILABLE)
    }
}

/// Rules that let senders from all `sources` ask, if the node has a page, and what they are called.
pub fn rules(node: &NodeSettings, sources: &[IpNet]) -> Vec<(Rule, RuleText)> {
    let sources = if node.status_page { sources } else { &[] };
    sources.iter().filter_map(|source| rule(*source, &node.addresses)).collect()
}

/// A rule that lets senders from `source` ask at the addresses of its version among `own`; `None` if there is none.
fn rule(source: IpNet, own: &[IpAddr]) -> Option<(Rule, RuleText)> {
    let is_v4 = source.addr().is_ipv4();
    let port = PortRange::single(PORT);
    let selectors = own
        .iter()
        .filter(|own| own.is_ipv4() == is_v4)
        .filter_map(|own| Selector::new(IpRange::single(*own), Some(Protocol::TCP), Some(port)).ok());
    let destinations: Vec<_> = selectors
        .map(|selector| Destination { selector, dnat: None, egress: EgressChoice::Sockets })
        .collect();
    let text = RuleText {
        target: TARGET.to_owned(),
        source: source.to_string(),
        destinations: destinations.iter().map(|destination| destination.selector.to_string()).collect(),
        src_nat: false,
    };
    let rule = Rule {
        id: rule_id::of(&[TARGET, &source.to_string()]),
        subject: Subject { ingress: IngressMatch::Any, source },
        destinations,
        snat: Snat::Off,
        deny: Refusal::Prohibited,
        lease: None,
        caps: CAPS,
    };
    (!rule.destinations.is_empty()).then_some((rule, text))
}

/// Answers at `listener` until the process ends.
pub(super) async fn serve(listener: TcpListener, make: PageMaker) {
    let pages = Pages { make, next: Arc::new(Mutex::new(Instant::now())) };
    let own = listener.local_addr().ip();
    let site = Router::new()
        .route("/", get(html))
        .route("/status.json", get(json))
        .with_state(pages)
        .layer(middleware::from_fn(move |request, next| guard(own, request, next)));
    let site = site.into_make_service_with_connect_info::<Asker>();
    if let Err(error) = axum::serve(Door(listener), site).await {
        tracing::error!(%error, "the status page is gone");
    }
}

async fn html(
    State(pages): State<Pages>,
    ConnectInfo(asker): ConnectInfo<Asker>,
) -> Result<Html<String>, StatusCode> {
    let html = pages.page(asker.0.ip()).await?.html();
    html.map(Html).map_err(|error| {
        tracing::error!(%error, "the status page cannot be written");
        StatusCode::INTERNAL_SERVER_ERROR
    })
}

async fn json(
    State(pages): State<Pages>,
    ConnectInfo(asker): ConnectInfo<Asker>,
) -> Result<Json<Page>, StatusCode> {
    pages.page(asker.0.ip()).await.map(Json)
}

/// A name that somebody else's server gave our address would let that server's scripts read the page: only our address
/// itself is answered to.
async fn guard(own: IpAddr, request: Request, next: Next) -> Response {
    let mut response = match is_for(own, request.headers()) {
        true => next.run(request).await,
        false => (StatusCode::MISDIRECTED_REQUEST, "Ask for this page by its address.\n").into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

const HEADERS: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
];

fn is_for(own: IpAddr, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = host.and_then(|host| host.parse::<Authority>().ok());
    let address = authority.and_then(|authority| {
        authority.host().trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok()
    });
    address == Some(own)
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
struct Asker(SocketAddr);

/// The listener as axum wants it.
struct Door(TcpListener);

impl axum::serve::Listener for Door {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        match self.0.accept().await {
            Some(accepted) => accepted,
            // The stack is gone, and so will be this task.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.0.local_addr())
    }
}

impl Connected<IncomingStream<'_, Door>> for Asker {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Asker {
        Asker(*stream.remote_addr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_address_is_a_name_we_answer_to() {
        let host = |host: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            headers
        };
        let (v4, v6): (IpAddr, IpAddr) = ("10.99.0.1".parse().unwrap(), "fd99::1".parse().unwrap());
        for (own, text, answers) in [
            (v4, "10.99.0.1", true),
            (v4, "10.99.0.1:80", true),
            (v4, "10.99.0.2", false),
            (v4, "evil.example", false),
            (v4, "", false),
            (v6, "[fd99::1]", true),
            (v6, "[fd99::1]:80", true),
            (v6, "[fd99::2]", false),
        ] {
            assert_eq!(is_for(own, &host(text)), answers, "{text}");
        }
        assert!(!is_for(v4, &HeaderMap::new()));
    }

    #[test]
    fn a_rule_leads_to_the_page_at_our_addresses_of_its_version_and_nowhere_else() {
        let own: Vec<IpAddr> = ["10.99.0.1", "fd99::1", "10.99.0.9"].map(|own| own.parse().unwrap()).into();
        let (rule, text) = rule("10.77.0.0/24".parse().unwrap(), &own).unwrap();
        assert_eq!(text.destinations, ["10.99.0.1 tcp 80", "10.99.0.9 tcp 80"]);
        assert!(rule.destinations.iter().all(|destination| destination.egress == EgressChoice::Sockets));
        assert!(super::rule("fd77::/64".parse().unwrap(), &own[..1]).is_none());
    }
}
