/**
 * A certificate that signs itself, for `kubernetes` and 127.0.0.1, valid for a hundred years, with its key: so that the fake API
 * server speaks TLS on machines without openssl. The key protects nothing.
 */

export const certificate = `
-----BEGIN CERTIFICATE-----
MIIBnjCCAUSgAwIBAgIUND6MIA6zdIqGjft33COW1BKZDO0wCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKa3ViZXJuZXRlczAgFw0yNjExMjEwNTA5MjNaGA8yMTI2MTAy
ODA1MDkyM1owFTETMBEGA1UEAwwKa3ViZXJuZXRlczBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABNMOb218mfiZDGefv9aYeyg8NlaAIDeIq5l4SnqlqEuVaSVN+kk8
V/1cBuEyU4+iMrSGyMe2FJu9qFMDqSiPehqjcDBuMB0GA1UdDgQWBBQUmUQ4e9UN
Ww83VfDVpzJrMl1qFzAfBgNVHSMEGDAWgBQUmUQ4e9UNWw83VfDVpzJrMl1qFzAP
BgNVHRMBAf8EBTADAQH/MBsGA1UdEQQUMBKCCmt1YmVybmV0ZXOHBH8AAAEwCgYI
KoZIzj0EAwIDSAAwRQIhAOYlrQz9lvlTiAkJutfOG5+5qjQLgPbKuWgb5XgLN2wf
AiASWy2q8EEJ3eLCrYasbdfMRCWwIqDRNW6RaFZNGZZw6Q==
-----END CERTIFICATE-----
`.trimStart();

export const key = `
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgRzPDjdRPPxc20q3S
50UE9AzlxOVABE0mSKvdeQp5dSmhRANCAATTDm9tfJn4mQxnn7/WmHsoPDZWgCA3
iKuZeEp6pahLlWklTfpJPFf9XAbhMlOPojK0hsjHthSbvahTA6koj3oa
-----END PRIVATE KEY-----
`.trimStart();
