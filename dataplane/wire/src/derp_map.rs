//! One relay as it stands in a DERP map, in Tailscale's JSON (`tailcfg.DERPNode`): what an operator pastes
//! to make clients use a relay whose certificate is pinned.
//!
//! Names, and what is left out when empty, are Go's.

use serde::Serialize;

/// One relay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DerpNode {
    /// Unique over all regions, such as "1a"; not a host name.
    pub name: String,
    /// The region that it is in.
    #[serde(rename = "RegionID")]
    pub region_id: i64,
    /// DNS name, or an address with a pinned certificate.
    pub host_name: String,
    /// Name expected in the certificate instead of `host_name`, or `sha256-raw:` and the digest of the
    /// certificate itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cert_name: String,
    /// IPv4 address to use instead of DNS; anything else ("none") switches IPv4 off.
    #[serde(rename = "IPv4", skip_serializing_if = "String::is_empty")]
    pub ipv4: String,
    /// IPv6 address to use instead of DNS; anything else ("none") switches IPv6 off.
    #[serde(rename = "IPv6", skip_serializing_if = "String::is_empty")]
    pub ipv6: String,
    /// STUN port: 0 for 3478, -1 for none.
    #[serde(rename = "STUNPort", skip_serializing_if = "is_zero_i32")]
    pub stun_port: i32,
    /// The node answers STUN and is no relay.
    #[serde(rename = "STUNOnly", skip_serializing_if = "is_false")]
    pub stun_only: bool,
    /// HTTPS port: 0 for 443.
    #[serde(rename = "DERPPort", skip_serializing_if = "is_zero_i32")]
    pub derp_port: i32,
    /// The certificate is not checked.
    #[serde(skip_serializing_if = "is_false")]
    pub insecure_for_tests: bool,
    /// Address for STUN instead of the relay's.
    #[serde(rename = "STUNTestIP", skip_serializing_if = "String::is_empty")]
    pub stun_test_ip: String,
    /// Port 80 answers captive-portal checks.
    #[serde(rename = "CanPort80", skip_serializing_if = "is_false")]
    pub can_port80: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's calling convention"
)]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's calling convention"
)]
fn is_zero_i32(value: &i32) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_is_left_out_as_in_go() {
        assert_eq!(
            serde_json::to_string(&DerpNode::default()).unwrap(),
            r#"{"Name":"","RegionID":0,"HostName":""}"#
        );
    }

    #[test]
    fn every_name_is_tailscales() {
        let node = DerpNode {
            name: "1a".into(),
            region_id: 1,
            host_name: "h".into(),
            cert_name: "c".into(),
            ipv4: "a".into(),
            ipv6: "b".into(),
            stun_port: -1,
            stun_only: true,
            derp_port: 8443,
            insecure_for_tests: true,
            stun_test_ip: "t".into(),
            can_port80: true,
        };
        let expected = concat!(
            r#"{"Name":"1a","RegionID":1,"HostName":"h","CertName":"c","IPv4":"a","IPv6":"b","#,
            r#""STUNPort":-1,"STUNOnly":true,"DERPPort":8443,"InsecureForTests":true,"#,
            r#""STUNTestIP":"t","CanPort80":true}"#,
        );
        assert_eq!(serde_json::to_string(&node).unwrap(), expected);
    }
}
