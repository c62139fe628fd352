package backend

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"

	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/envelope"
	"github.com/ai-keys/vault-plugin-secrets-ai-keys/backend/provider"
)

// Version is what the plugin reports to Vault. Releases set it at link time.
var Version = "v0.1.0-dev"

// A Backend is one mount. Several mounts may share a process, so nothing is
// kept at package level.
type Backend struct {
	*framework.Backend

	uuid    string
	storage logical.Storage // for background work; requests bring their own

	config   atomic.Pointer[mountConfig] // nil: to be read from storage
	configMu sync.Mutex                  // held while it is read or written
	keyring  *envelope.Keyring

	accounts   *table[accountEntry]
	roles      *table[roleEntry]
	staticKeys *table[keyEntry]
	ledger     *ledger
	queue      *queue
	clients    clients
	sessions   sessions
	standings  *standings
	meters     *meters
	news       news
	agenda     agenda
	eras       eras

	accountLocks locks
	roleLocks    locks // taken before accountLocks
	lineLocks    locks // taken before roleLocks
	slotLocks    locks // of two-slot resources; taken after roleLocks
	importLocks  locks // of accounts, for their imports; taken after slotLocks

	began      time.Time       // when this process took the mount over, or a moment before
	life       context.Context //nolint:containedctx // ends with the mount; requests' contexts end too early
	stop       context.CancelFunc
	started    atomic.Bool
	surveyed   atomic.Bool // every role has been looked at since the start
	background sync.WaitGroup
}

// Factory makes the backend of one mount. It makes no call and starts nothing:
// Vault cancels ctx when it returns.
func Factory(ctx context.Context, conf *logical.BackendConfig) (logical.Backend, error) {
	b := newBackend(conf)
	if err := b.Setup(ctx, conf); err != nil {
		return nil, fmt.Errorf("setting up the ai-keys backend: %w", err)
	}
	return b, nil
}

// Setup is the framework's, with a view of Vault that does not ask it each time.
func (b *Backend) Setup(ctx context.Context, conf *logical.BackendConfig) error {
	own := *conf
	own.System = &system{SystemView: conf.System}
	return b.Backend.Setup(ctx, &own)
}

func newBackend(conf *logical.BackendConfig) *Backend {
	b := &Backend{
		uuid:       conf.BackendUUID,
		began:      time.Now().UTC(),
		storage:    conf.StorageView,
		keyring:    envelope.NewKeyring(conf.BackendUUID, conf.Logger),
		accounts:   newTable(accountPrefix, func(a *accountEntry, name string) { a.Name = name; a.parse() }),
		roles:      newTable(rolePrefix, func(r *roleEntry, name string) { r.Name = name; r.parse() }),
		staticKeys: newTable(keyPrefix, func(*keyEntry, string) {}),
		ledger:     newLedger(),
		standings:  newStandings(),
		meters:     newMeters(),
		news:       newNews(),
	}
	b.life, b.stop = context.WithCancel(context.Background())
	b.queue = newQueue(b.doItem, b.workers, b.itemAccount)
	b.observe()
	b.Backend = &framework.Backend{
		Help:           backendHelp,
		BackendType:    logical.TypeLogical,
		RunningVersion: Version,
		Paths: framework.PathAppend(
			pathsCreds(b), // first: the path that is read most
			pathsConfig(b),
			pathsConfigTransit(b),
			pathsProviders(),
			pathsAccounts(b),
			pathsRoles(b),
			pathsRotateRole(b),
			pathsRotateRoot(b),
			pathsImport(b),
			pathsRevoke(b),
			pathsStatus(b),
			pathsMetrics(b),
			pathsKeys(b),
			pathsReconcile(b),
			pathsRewrap(b),
		),
		PathsSpecial: &logical.Paths{
			SealWrapStorage: []string{transitPath, dataKeyPrefix, accountPrefix, keyPrefix},
		},
		Secrets: []*framework.Secret{secretKey(b)},
		InitializeFunc: func(context.Context, *logical.InitializationRequest) error {
			if b.WriteSafeReplicationState() {
				b.start()
			} else {
				b.ledger.complete() // this node changes nothing; requests that do are forwarded
			}
			return nil
		},
		Invalidate: b.invalidate,
		Clean: func(ctx context.Context) {
			b.stop()
			b.background.Wait()
			b.closeAgenda(ctx, b.storage)
			b.clients.close()
			b.keyring.Close()
		},
	}
	return b
}

// HandleRequest guards every path: it refuses fields that the path does not
// have, gives every error its status, and turns a panic into an error.
func (b *Backend) HandleRequest(ctx context.Context, req *logical.Request) (resp *logical.Response, err error) {
	defer func() {
		if r := recover(); r != nil {
			b.reportPanic(r, req.Path)
			resp, err = nil, problemf(500, "internal error: please report it with the stack from Vault's log")
		}
		if err != nil {
			b.meters.failed(err, "", "")
			err = answer(err)
		}
	}()
	if err := b.checkRequest(req); err != nil {
		return nil, err
	}
	return b.Backend.HandleRequest(ctx, req)
}

// reportPanic logs where a panic came from. Its value may hold anything, so
// only its type is told.
func (b *Backend) reportPanic(value any, doing string) {
	b.Logger().Error("panic", "doing", doing, "type", fmt.Sprintf("%T", value), "stack", string(debug.Stack()))
}

// HandleExistenceCheck comes before HandleRequest for a write, and the framework
// would quote a misshapen value there. Such a write goes on as a create, which
// HandleRequest refuses.
func (b *Backend) HandleExistenceCheck(ctx context.Context, req *logical.Request) (found, exists bool, err error) {
	if b.checkRequest(req) != nil && b.Route(req.Path).ExistenceCheck != nil {
		return true, false, nil
	}
	return b.Backend.HandleExistenceCheck(ctx, req)
}

// checkRequest checks what callers send. In a lease's operations the data is
// not theirs: Vault fills in what the lease was stored with.
func (b *Backend) checkRequest(req *logical.Request) error {
	callers := []logical.Operation{logical.CreateOperation, logical.ReadOperation, logical.UpdateOperation, logical.DeleteOperation, logical.ListOperation}
	if !slices.Contains(callers, req.Operation) {
		return nil
	}
	if len(req.Data) == 0 { // a hot read need not be routed twice
		return nil
	}
	path := b.Route(req.Path)
	if path == nil {
		return nil // the framework answers
	}
	return checkFields(req.Data, path.Fields)
}

// invalidate drops what another node changed from memory.
func (b *Backend) invalidate(_ context.Context, key string) {
	switch {
	case key == configPath, key == transitPath:
		b.config.Store(nil)
	case b.accounts.invalidate(key), b.roles.invalidate(key), b.staticKeys.invalidate(key):
	default:
		b.keyring.Invalidate(key)
	}
}

// settings returns the mount's configuration, reading it once, and points the
// keyring at the configured transit.
func (b *Backend) settings(ctx context.Context, s logical.Storage) (*mountConfig, error) {
	if cfg := b.config.Load(); cfg != nil {
		return cfg, nil
	}
	b.configMu.Lock()
	defer b.configMu.Unlock()
	if cfg := b.config.Load(); cfg != nil {
		return cfg, nil
	}
	cfg, err := b.readSettings(ctx, s)
	if err != nil {
		return nil, err
	}
	transit, err := load[envelope.Settings](ctx, s, transitPath)
	if err != nil {
		return nil, err
	}
	b.keyring.Configure(cfg.Encryption, transit)
	b.config.Store(cfg)
	return cfg, nil
}

// readSettings reads the configuration from storage, or the defaults.
func (b *Backend) readSettings(ctx context.Context, s logical.Storage) (*mountConfig, error) {
	cfg, err := load[mountConfig](ctx, s, configPath)
	if err == nil && cfg == nil {
		d := defaultConfig()
		cfg = &d
	}
	return cfg, err
}

func (b *Backend) workers() int {
	if cfg := b.config.Load(); cfg != nil {
		return cfg.Workers
	}
	return defaultConfig().Workers
}

// accountOf returns a role's account and what its provider is.
func (b *Backend) accountOf(ctx context.Context, s logical.Storage, role *roleEntry) (*accountEntry, provider.Definition, error) {
	a, err := b.accounts.get(ctx, s, role.Account)
	if err != nil {
		return nil, provider.Definition{}, err
	}
	if a == nil {
		return nil, provider.Definition{}, problemf(statusConflict, "account %q of role %q does not exist: write it again, or delete the role", role.Account, role.Name)
	}
	def, ok := provider.Lookup(a.Provider)
	if !ok {
		return nil, def, problemf(statusConflict, "account %q is for provider %q, which this build does not have", a.Name, a.Provider)
	}
	return a, def, nil
}

// staticRole loads a role that must exist and be static. The caller holds its lock.
func (b *Backend) staticRole(ctx context.Context, s logical.Storage, name, what string) (*roleEntry, error) {
	role, err := b.role(ctx, s, name)
	if err != nil {
		return nil, err
	}
	if role.Type != typeStatic {
		return nil, invalidf("role %q is dynamic, and %s is for static roles: each read of creds/%s mints a key of its own, and revoke/%s ends them all", name, what, name, name)
	}
	return role, nil
}

// role loads a role that must exist.
func (b *Backend) role(ctx context.Context, s logical.Storage, name string) (*roleEntry, error) {
	role, err := b.roles.get(ctx, s, name)
	if err != nil {
		return nil, err
	}
	if role == nil || role.Deleting {
		return nil, problemf(statusMissing, "no role named %q: see the list of roles", name)
	}
	return role, nil
}

// changesHere reports whether this node may change state. Elsewhere a request
// that must is sent on to the active node by answering [logical.ErrReadOnly].
func (b *Backend) changesHere() bool {
	state := b.System().ReplicationState()
	return !state.HasState(consts.ReplicationPerformanceStandby) &&
		(!state.HasState(consts.ReplicationPerformanceSecondary) || b.System().LocalMount())
}

// forwarded is set on every operation that changes state or needs the active
// node's memory.
func forwarded(h framework.OperationFunc, summary string, responses map[int][]framework.Response) *framework.PathOperation {
	return &framework.PathOperation{
		Callback: h, Summary: summary, Responses: responses,
		ForwardPerformanceStandby: true, ForwardPerformanceSecondary: true,
	}
}

const backendHelp = `
The ai-keys secrets engine owns your organisation's AI provider API keys: it
mints them, seals them with Vault transit, rotates them with an overlap, hands
them out at creds/<role>, and withdraws them.

To begin: write config/transit, then accounts/<name> with the provider's admin
key, then roles/<name>; read creds/<role>. To kill a leaked key: revoke/<role>.
To see what is there: status, keys/<account>; for Prometheus: metrics. The list of
providers and their fields: providers.
`
