//! `tracer explain` on nodes with one fault each, made with real rules,
//! sysctls and processes: the fault's verdict and no other; and on healthy
//! nodes: none. A new failure is one small file in `explain/`: topology,
//! fault, traffic, expected verdict.

#[path = "explain/accept_queue_full.rs"]
mod accept_queue_full;
#[path = "explain/addresses.rs"]
mod addresses;
#[path = "explain/amid.rs"]
mod amid;
#[path = "explain/backend_unreachable.rs"]
mod backend_unreachable;
#[path = "explain/bad_checksum.rs"]
mod bad_checksum;
#[path = "explain/before_dnat.rs"]
mod before_dnat;
#[path = "explain/beside.rs"]
mod beside;
#[path = "explain/by_interface.rs"]
mod by_interface;
#[path = "explain/closed_at_once.rs"]
mod closed_at_once;
#[path = "explain/conntrack_clash.rs"]
mod conntrack_clash;
#[path = "explain/conntrack_full.rs"]
mod conntrack_full;
#[path = "explain/conntrack_invalid.rs"]
mod conntrack_invalid;
#[path = "explain/dropped_by_rule.rs"]
mod dropped_by_rule;
#[path = "explain/events.rs"]
mod events;
#[path = "explain/exempt.rs"]
mod exempt;
#[path = "explain/expect.rs"]
mod expect;
#[path = "explain/facts.rs"]
mod facts;
#[path = "explain/forged.rs"]
mod forged;
#[path = "explain/gone_since.rs"]
mod gone_since;
#[path = "explain/hairpin.rs"]
mod hairpin;
#[path = "explain/healthy.rs"]
mod healthy;
#[path = "explain/held_by_kube_proxy.rs"]
mod held_by_kube_proxy;
#[path = "explain/near_miss.rs"]
mod near_miss;
#[path = "explain/near_rule.rs"]
mod near_rule;
#[path = "explain/no_endpoints.rs"]
mod no_endpoints;
#[path = "explain/no_local_endpoint.rs"]
mod no_local_endpoint;
#[path = "explain/no_service_rule.rs"]
mod no_service_rule;
#[path = "explain/no_way_back.rs"]
mod no_way_back;
#[path = "explain/nothing_listens.rs"]
mod nothing_listens;
#[path = "explain/other_interface.rs"]
mod other_interface;
#[path = "explain/other_movers.rs"]
mod other_movers;
#[path = "explain/paws_rejected.rs"]
mod paws_rejected;
#[path = "explain/pmtu_blackhole.rs"]
mod pmtu_blackhole;
#[path = "explain/recorded_rules.rs"]
mod recorded_rules;
#[path = "explain/rejected_by_rule.rs"]
mod rejected_by_rule;
#[path = "explain/return_path.rs"]
mod return_path;
#[path = "explain/route_blackhole.rs"]
mod route_blackhole;
#[path = "explain/rp_filter.rs"]
mod rp_filter;
#[path = "explain/scale.rs"]
mod scale;
#[path = "explain/scenario.rs"]
mod scenario;
#[path = "explain/scene.rs"]
mod scene;
#[path = "explain/server_stalled.rs"]
mod server_stalled;
#[path = "explain/several.rs"]
mod several;
#[path = "explain/sidecar.rs"]
mod sidecar;
#[path = "explain/snat_exhausted.rs"]
mod snat_exhausted;
#[path = "explain/sockets.rs"]
mod sockets;
#[path = "explain/stale_conntrack.rs"]
mod stale_conntrack;
#[path = "explain/standalone.rs"]
mod standalone;
#[path = "explain/syn_queue_full.rs"]
mod syn_queue_full;
#[path = "explain/told.rs"]
mod told;
#[path = "explain/unseen.rs"]
mod unseen;
#[path = "explain/unserved.rs"]
mod unserved;
#[path = "explain/window.rs"]
mod window;
#[path = "explain/without_conntrack.rs"]
mod without_conntrack;
#[path = "explain/without_pods.rs"]
mod without_pods;
