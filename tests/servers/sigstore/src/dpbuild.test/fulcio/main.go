// Fulcio as a test needs it: its own issuing code behind HTTP, without the parts of its program that serve clouds.
//
// fulcio CONFIG CERTIFICATE KEY KEY-PASSWORD CT-LOG-URL CT-LOG-PUBLIC-KEY LISTEN
package main

import (
	"context"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	ctclient "github.com/google/certificate-transparency-go/client"
	"github.com/google/certificate-transparency-go/jsonclient"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/sigstore/fulcio/pkg/ca/fileca"
	"github.com/sigstore/fulcio/pkg/config"
	gw "github.com/sigstore/fulcio/pkg/generated/protobuf"
	"github.com/sigstore/fulcio/pkg/server"
	v1 "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore/pkg/signature"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	ctx := context.Background()
	cfg := must(config.Load(os.Args[1]))
	authority := must(fileca.NewFileCA(os.Args[2], os.Args[3], os.Args[4], false))
	pem := string(must(os.ReadFile(os.Args[6])))
	ct := must(ctclient.New(os.Args[5], http.DefaultClient, jsonclient.Options{PublicKey: pem}))
	algorithms := must(signature.NewAlgorithmRegistryConfig([]v1.PublicKeyDetails{
		v1.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
	}))
	withConfig := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		return handler(config.With(ctx, cfg), req)
	}
	inner := must(net.Listen("tcp", "127.0.0.1:0"))
	served := grpc.NewServer(grpc.UnaryInterceptor(withConfig))
	gw.RegisterCAServer(served, server.NewGRPCCAServer(ct, authority, algorithms, server.NewIssuerPool(cfg)))
	go func() { log.Fatal(served.Serve(inner)) }()
	token := func(_ context.Context, req *http.Request) metadata.MD {
		return metadata.Pairs(server.MetadataOIDCTokenKey, strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "))
	}
	mux := runtime.NewServeMux(runtime.WithMetadata(token))
	plain := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if err := gw.RegisterCAHandlerFromEndpoint(ctx, mux, inner.Addr().String(), plain); err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(os.Args[7], mux)) //nolint:gosec // on loopback, for a test
}
