module dpbuild.test/fulcio

go 1.25
