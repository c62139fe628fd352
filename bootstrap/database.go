package bootstrap

import (
	"context"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/file"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/bootstrap/schema"
)

// rotatedMark is kept by Vault among the connection's details, as is every
// setting that a plugin does not know: the root password was, or is being,
// rotated.
const rotatedMark = "ai_keys_bootstrap_rotated"

var databaseConnectionKind = &Kind{
	Name: "database connection", Word: "connection", Stage: StageEngine,
	Block: &schema.Block{
		Name: "connection", Labels: []string{"name"}, Doc: "A database, and the account with which Vault makes others.",
		Fields: slices.Concat(databaseConnectionFields, databaseDetailFields),
	},
	Path:     func(o *Object) string { return slashed(o.MountPath(), "config", o.Key()) },
	ListPath: func(o *Object) string { return slashed(o.MountPath(), "config") },
	Prepare:  prepareDatabaseConnection, Derive: deriveRotation,
	Read: readDatabaseConnection, Write: writeDatabaseConnection,
	Review: reviewRotates, Rotated: databaseRotated,
}

// databaseConnectionFields are the engine's own settings.
var databaseConnectionFields = []*schema.Field{
	{Name: "plugin_name", Required: true, Doc: "The database plugin, such as postgresql-database-plugin or mysql-database-plugin."},
	{Name: "plugin_version", Keep: true, Normal: withV, Doc: "Version of a plugin of your own."},
	{Name: "verify_connection", Type: schema.Bool, Default: true, Doc: "Whether Vault logs in before it takes the settings."},
	{Name: "allowed_roles", Type: schema.Set, Doc: `Roles that may use it; "*" is all.`},
	{
		Name: "root_rotation_statements", Type: schema.List, ReadAs: "root_credentials_rotate_statements",
		Aliases: []string{"root_credentials_rotate_statements"}, Doc: "Statements that change the password of Vault's own account.",
	},
	{Name: "password_policy", Doc: "Vault's password policy for what it makes up."},
	{Name: "rotate_root", Type: schema.Bool, Local: true, Doc: "Let Vault replace the password once, so that nobody else knows it."},
	{Name: "details", Type: schema.Any, Secrecy: schema.Sensitive, Keep: true, Doc: "More settings, by name, for a plugin of your own."},
}

// withV: Vault answers versions with a v.
func withV(v any) any {
	if text, ok := v.(string); ok && text[0] != 'v' {
		return "v" + text
	}
	return v
}

// databaseDetailFields are what the plugins that come with Vault take; each
// takes some of it. Vault keeps them as they were sent and checks nothing: an
// unknown one, or a misspelt one, would stand there without effect.
var databaseDetailFields = []*schema.Field{
	{Name: "connection_url", Doc: "Address of the database, with {{username}} and {{password}} where the account stands."},
	{Name: "username", Secrecy: schema.Sensitive, Doc: "Vault's own account."},
	{Name: "password", Secrecy: schema.Secret, Rotates: true, Doc: "Its password."},
	{Name: "private_key", Secrecy: schema.Secret, Rotates: true, Doc: "Its private key (Snowflake, PostgreSQL, MongoDB Atlas, Couchbase Capella)."},
	{Name: "service_account_json", Secrecy: schema.Secret, Doc: "Google credentials, with auth_type gcp_iam."},
	{Name: "username_template", Doc: "Template of the names of the accounts that are made."},
	{Name: "max_open_connections", Type: schema.Int, Doc: "Most connections at once."},
	{Name: "max_idle_connections", Type: schema.Int, Doc: "Most connections that are kept open."},
	{Name: "max_connection_lifetime", Type: schema.Duration, Doc: "How long a connection is used."},
	{Name: "auth_type", OneOf: []string{"", "gcp_iam", "cert"}, Doc: "How Vault logs in, where it is not by password."},
	{Name: "password_authentication", OneOf: []string{"", "password", "scram-sha-256"}, Doc: "How passwords reach PostgreSQL."},
	{Name: "disable_escaping", Type: schema.Bool, Doc: "Put user name and password into the address as they are."},
	{Name: "use_private_ip", Type: schema.Bool, Doc: "Use Cloud SQL's private address."},
	{Name: "use_psc", Type: schema.Bool, Doc: "Use Cloud SQL's Private Service Connect."},
	{Name: "self_managed", Type: schema.Bool, Doc: "Each static role logs in as itself (Vault Enterprise)."},
	{Name: "contained_db", Type: schema.Bool, Doc: "A contained database (SQL Server)."},
	{Name: "tls", Type: schema.Bool, Doc: "Use TLS."},
	{Name: "insecure_tls", Type: schema.Bool, Doc: "Take any certificate of the database."},
	{Name: "tls_ca", Doc: "CA of the database's certificate, PEM."},
	{Name: "tls_certificate", Doc: "Vault's client certificate, PEM (PostgreSQL)."},
	{Name: "tls_certificate_key", Secrecy: schema.Sensitive, Doc: "Vault's client certificate and key, PEM (MySQL, MongoDB)."},
	{Name: "tls_server_name", Doc: "Name in the database's certificate."},
	{Name: "tls_skip_verify", Type: schema.Bool, Doc: "Take any certificate of the database (MySQL)."},
	{Name: "tls_min_version", Doc: "Oldest TLS version (Cassandra, InfluxDB)."},
	{Name: "hosts", Doc: "Addresses, with commas (Cassandra, Couchbase)."},
	{Name: "host", Doc: "Address (InfluxDB, Redis)."},
	{Name: "port", Type: schema.Int, Doc: "Port (Cassandra, InfluxDB, Redis)."},
	{Name: "url", Doc: "Address (Elasticsearch, ElastiCache)."},
	{Name: "pem_bundle", Secrecy: schema.Sensitive, Doc: "Certificate and key, PEM (Cassandra, InfluxDB)."},
	{Name: "pem_json", Secrecy: schema.Sensitive, Doc: "Certificate and key, as Vault's pki engine gives them (Cassandra, InfluxDB)."},
	{Name: "base64pem", Doc: "CA, base64 (Couchbase)."},
	{Name: "ca_cert", Doc: "CA: a file on Vault's machine (Elasticsearch), or PEM (Redis)."},
	{Name: "ca_path", Doc: "Folder of CAs on Vault's machine (Elasticsearch)."},
	{Name: "client_cert", Doc: "Client certificate, a file on Vault's machine (Elasticsearch)."},
	{Name: "client_key", Doc: "Its key, a file on Vault's machine (Elasticsearch)."},
	{Name: "insecure", Type: schema.Bool, Doc: "Take any certificate of the database (Elasticsearch)."},
	{Name: "use_old_xpack", Type: schema.Bool, Doc: "Elasticsearch 6."},
	{Name: "bucket_name", Doc: "Bucket, for servers before 6.5 (Couchbase)."},
	{Name: "protocol_version", Type: schema.Int, Doc: "CQL's version (Cassandra)."},
	{Name: "consistency", Doc: "Consistency (Cassandra)."},
	{Name: "local_datacenter", Doc: "Data centre to ask first (Cassandra)."},
	{Name: "skip_verification", Type: schema.Bool, Doc: "Do not ask for the account's rights (Cassandra)."},
	{Name: "connect_timeout", Doc: `How long a connection may take: "5s" (Cassandra, InfluxDB), or nanoseconds (MongoDB).`},
	{Name: "socket_keep_alive", Type: schema.Duration, Doc: "Keep-alive of connections (Cassandra)."},
	{Name: "socket_timeout", Type: schema.Int, Doc: "How long an answer may take, in nanoseconds (MongoDB)."},
	{Name: "server_selection_timeout", Type: schema.Int, Doc: "How long a server is looked for, in nanoseconds (MongoDB)."},
	{Name: "write_concern", Doc: "Write concern, JSON (MongoDB)."},
	{Name: "public_key", Doc: "Public API key (MongoDB Atlas, Couchbase Capella)."},
	{Name: "project_id", Doc: "Project (MongoDB Atlas, Couchbase Capella)."},
	{Name: "region", Doc: "AWS region (ElastiCache)."},
	{Name: "access_key_id", Secrecy: schema.Sensitive, Doc: "AWS access key (ElastiCache)."},
	{Name: "secret_access_key", Secrecy: schema.Sensitive, Doc: "Its secret (ElastiCache)."},
}

func prepareDatabaseConnection(o *Object, _ *file.Node) file.Diagnostics {
	address := o.Values["connection_url"]
	text, _ := address.V.(string)
	_, password := o.Value("password")
	switch {
	case literalPassword(text):
		return mistake(address.At, "connection_url holds a password", "Vault shows connection_url to whoever may read the connection, and cannot rotate what stands in it: "+
			"write {{username}} and {{password}} there, and the account in username and password.")
	case password && text != "" && !strings.Contains(text, "{{password}}"):
		return mistake(address.At, "connection_url has no place for the password", "Vault puts it where {{password}} stands, as in postgresql://{{username}}:{{password}}@db:5432/app.")
	}
	details, _ := o.Values["details"].V.(map[string]any)
	for _, name := range sortedKeys(details) {
		if f, _ := o.block().Field(name); f != nil || name == rotatedMark {
			return mistake(o.Values["details"].At, name+" stands in details", "It is a field of its own, or none for a file.")
		}
	}
	return nil
}

// Where a password stands in an address: scheme://user:this@host; as MySQL and
// Oracle write it, user:this@tcp(host) and user/this@host; and password=this.
var (
	urlPassword   = regexp.MustCompile(`://[^/?@]*?:([^@/?]*)@`)
	plainPassword = regexp.MustCompile(`^[^:/@\s=]+[:/]([^@]*)@`)
	namedPassword = regexp.MustCompile(`(?i)(?:^|[\s;?&])(?:password|pwd|sslpassword)\s*=\s*'?([^\s;&']*)`)
)

// literalPassword tells whether an address has a password of its own.
func literalPassword(address string) bool {
	places := []*regexp.Regexp{plainPassword, namedPassword}
	if strings.Contains(address, "://") {
		places[0] = urlPassword
	}
	for _, place := range places {
		for _, m := range place.FindAllStringSubmatch(address, -1) {
			if m[1] != "" && m[1] != "{{password}}" {
				return true
			}
		}
	}
	return false
}

// readDatabaseConnection puts the details beside the engine's own settings:
// the file makes no difference between them.
func readDatabaseConnection(ctx context.Context, s *Session, o *Object) (*State, error) {
	answer, err := s.Vault.Read(ctx, o.Kind.Path(o))
	if err != nil || answer == nil {
		return absent, err
	}
	details, _ := answer["connection_details"].(map[string]any)
	flat := maps.Clone(details)
	if flat == nil {
		flat = make(map[string]any)
	}
	maps.Copy(flat, answer)
	delete(flat, "connection_details")
	wanted, _ := o.Values["details"].V.(map[string]any)
	own := make(map[string]any)
	for name := range wanted {
		if v, there := details[name]; there {
			own[name] = v
		}
	}
	flat["details"] = own
	st, err := StateOf(o, flat)
	if err != nil {
		return nil, err
	}
	return st, s.hide(ctx, o, st, "connection_url", "url", "details", "tls_certificate_key", "pem_bundle", "pem_json", "secret_access_key")
}

// hide takes out of a state what is not the file's: a plan shows what the
// server has, and here that may be a secret.
func (s *Session) hide(ctx context.Context, o *Object, st *State, fields ...string) error {
	for _, f := range o.fields() {
		have := st.Values[f.Name]
		if have == nil || !slices.Contains(fields, f.Name) || harmless(have) {
			continue
		}
		v, _ := o.Value(f.Name)
		resolved, _, err := s.Resolve(ctx, v)
		if err != nil {
			return err
		}
		if want, err := f.Canonical(resolved); err != nil || !schema.Equal(want, have) {
			st.Values[f.Name] = anotherValue
		}
	}
	return nil
}

// harmless tells whether a server's value is an address without a password. It
// was often put there by a tool that knew no better, and Vault answers it in clear.
func harmless(v any) bool {
	address, _ := v.(string)
	if plain, err := url.PathUnescape(address); err == nil {
		address = plain // Vault escapes the spaces of a key=value address
	}
	return strings.Contains(address, "{{password}}") && !literalPassword(address)
}

func writeDatabaseConnection(ctx context.Context, s *Session, c *Change) error {
	o := c.Object
	if err := startAnew(ctx, s, c); err != nil {
		return err
	}
	body, err := s.Body(ctx, c)
	if err != nil {
		return err
	}
	own, _ := body["details"].(map[string]any)
	delete(body, "details")
	maps.Copy(body, own)
	if s.resends(o) && textOf(c.State.Answer, rotatedMark) != "" {
		body[rotatedMark] = "" // with the password, or the next plan would withhold it
	}
	_, err = s.Vault.Write(ctx, o.Kind.Path(o), body)
	return err
}

// markRotated puts the mark on a connection. Nothing else of it changes: Vault
// keeps what a write leaves out.
func markRotated(ctx context.Context, s *Session, o *Object) error {
	path := o.Kind.Path(o)
	answer, err := s.Vault.Read(ctx, path)
	if err != nil {
		return err
	}
	details, _ := answer["connection_details"].(map[string]any)
	if textOf(details, rotatedMark) != "" {
		return nil
	}
	_, err = s.Vault.Write(ctx, path, map[string]any{"plugin_name": answer["plugin_name"], rotatedMark: "yes"})
	return err
}

// databaseRotated: the mark is there, and nothing is recorded of what was sent.
// With a record the mark says nothing new.
func databaseRotated(ctx context.Context, s *Session, o *Object, st *State) (bool, error) {
	e, err := s.Entry(ctx, o)
	return err == nil && textOf(st.Answer, rotatedMark) != "" && len(e.Fingerprints) == 0, err
}
