from .ast import AST as AST, ASTConfig as ASTConfig
